"""Whose turn it is among the endpoints of a target."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from hermes_common.endpoints import DicomEndpoint, Endpoint, StowEndpoint, Strategy
from hermes_common.runtime.sealing import Sealer, SecretRefusedError, sealed_targets
from hermes_common.targets import BearerAuth, DicomTarget, StowTarget, Targets, at_endpoint
from hermes_dispatcher.adapters.throttle import Throttle
from hermes_dispatcher.core.choosing import Choice, capacity, choose

A, B, C = (Endpoint(f"{name}@h:104", 2, weight) for name, weight in (("A", 1), ("B", 2), ("C", 4)))
ALL = (A, B, C)
STUDIES = [f"1.2.{number}" for number in range(700)]


def turns(strategy: Strategy, number: int, endpoints: tuple[Endpoint, ...] = ALL, down: set[str] | None = None) -> str:
    """Return the names of those who have the next turns, if each attempt ends before the next one."""
    owed: dict[str, int] = {}
    names = ""
    for _ in range(number):
        choice = choose(strategy, endpoints, down or set(), {}, owed, "1.2.3")
        assert choice is not None
        names, owed = names + choice.endpoint.name[0], dict(choice.credits)
    return names


def place_of(study: str, down: set[str] | None = None) -> str:
    choice = choose(Strategy.STUDY_AFFINITY, ALL, down or set(), {}, {}, study)
    assert choice is not None
    return choice.endpoint.name[0]


def test_failover_uses_the_first_that_is_up_waits_for_it_when_it_is_full_and_goes_back_to_it() -> None:
    assert turns(Strategy.FAILOVER, 5) == "AAAAA"
    assert turns(Strategy.FAILOVER, 2, down={A.token}) == "BB"
    assert choose(Strategy.FAILOVER, ALL, set(), {A.token: 2}, {}, "1.2") is None
    assert choose(Strategy.FAILOVER, ALL, {A.token, B.token, C.token}, {}, {}, "1.2") is None


def test_round_robin_gives_each_its_turn_and_passes_over_who_is_down_or_full() -> None:
    assert turns(Strategy.ROUND_ROBIN, 6) == "ABCABC"
    assert turns(Strategy.ROUND_ROBIN, 4, down={B.token}) == "ACAC"
    full = choose(Strategy.ROUND_ROBIN, ALL, set(), {A.token: 2, B.token: 2}, {}, "1.2")
    assert full is not None
    assert full.endpoint is C


def test_weights_are_kept_exactly_and_evenly() -> None:
    names = turns(Strategy.WEIGHTED, 70)
    assert Counter(names) == {"A": 10, "B": 20, "C": 40}
    assert all(Counter(names[start : start + 7]) == {"A": 1, "B": 2, "C": 4} for start in range(0, 70, 7))


def test_who_was_down_for_long_does_not_take_every_turn_when_it_is_back() -> None:
    owed: dict[str, int] = {}
    for _ in range(1000):
        choice = choose(Strategy.ROUND_ROBIN, ALL, {A.token}, {}, owed, "1.2")
        assert choice is not None
        owed = dict(choice.credits)
    names = ""
    for _ in range(9):
        choice = choose(Strategy.ROUND_ROBIN, ALL, set(), {}, owed, "1.2")
        assert choice is not None
        names, owed = names + choice.endpoint.name[0], dict(choice.credits)
    assert 2 <= names.count("A") <= 4


def test_the_least_busy_for_its_weight_is_next() -> None:
    wide = tuple(Endpoint(each.name, 8, each.weight) for each in ALL)
    busy = {A.token: 1, B.token: 1, C.token: 3}
    choice = choose(Strategy.LEAST_BUSY, wide, set(), busy, {}, "1.2")
    assert choice is not None
    assert choice.endpoint.name == B.name
    assert Counter(turns(Strategy.LEAST_BUSY, 7)) == {"A": 1, "B": 2, "C": 4}


def test_a_study_stays_at_its_endpoint_and_moves_only_when_that_is_down() -> None:
    before = {study: place_of(study) for study in STUDIES}
    assert {study: place_of(study) for study in STUDIES} == before
    counts = Counter(before.values())
    assert counts["A"] < counts["B"] < counts["C"]
    without_b = {study: place_of(study, {B.token}) for study in STUDIES}
    assert {without_b[study] for study in STUDIES if before[study] == "B"} == {"A", "C"}
    assert all(without_b[study] == before[study] for study in STUDIES if before[study] != "B")


@given(
    st.sampled_from(Strategy),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.booleans(), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_nobody_is_chosen_who_is_down_or_full(
    strategy: Strategy, made: list[tuple[int, int, bool, int]], study: int
) -> None:
    endpoints = [Endpoint(f"E{n}@h:1", room, weight) for n, (room, weight, _, _) in enumerate(made)]
    down = {each.token for each, (_, _, is_down, _) in zip(endpoints, made, strict=True) if is_down}
    busy = {each.token: inside for each, (_, _, _, inside) in zip(endpoints, made, strict=True)}
    choice = choose(strategy, endpoints, down, busy, {}, f"1.2.{study}")
    free = [each for each in endpoints if each.token not in down and busy[each.token] < each.concurrency]
    if isinstance(choice, Choice):
        assert choice.endpoint in free
    elif strategy in (Strategy.ROUND_ROBIN, Strategy.WEIGHTED, Strategy.LEAST_BUSY):
        assert not free


def test_the_places_of_a_target_are_those_of_the_endpoints_that_are_up() -> None:
    assert capacity(Strategy.FAILOVER, ALL, set()) == 2
    assert capacity(Strategy.WEIGHTED, ALL, set()) == 6
    assert capacity(Strategy.WEIGHTED, ALL, {A.token}) == 4
    assert capacity(Strategy.WEIGHTED, ALL, {A.token, B.token, C.token}) == 2


def test_documents_of_the_earlier_release_load_as_a_target_with_one_endpoint() -> None:
    document = {
        "targets": [
            {
                "kind": "dicom", "slug": "pacs", "name": "PACS", "enabled": True, "pause": None, "concurrency": 3,
                "retry": {"max_attempts": 5, "delay": "60s", "factor": 2.0, "max_delay": "1h"}, "contact": "",
                "comment": "", "host": "pacs", "port": 104, "called_aet": "PACS", "calling_aet": "HERMES",
                "pass_calling_aet": False, "max_pdu": None, "tls": None, "connect_timeout": "10s",
                "response_timeout": "60s",
            },
            {"kind": "stow", "slug": "web", "name": "Web", "url": "https://h/dicom-web"},
            {"kind": "folder", "slug": "folder", "name": "Folder", "path": "/p"},
        ]
    }  # fmt: skip
    pacs, web, folder = Targets.model_validate(document).targets
    assert pacs.all_endpoints() == (Endpoint("PACS@pacs:104", 3),)
    assert (pacs.destination, pacs.retry.max_age) == ("pacs:104", timedelta(days=7))
    assert web.all_endpoints() == (Endpoint("https://h/dicom-web", 2),)
    assert (web.destination, len(folder.all_endpoints())) == ("https://h/dicom-web", 1)
    assert Targets.model_validate(Targets(targets=(pacs, web, folder)).model_dump(mode="json")).targets[0] == pacs


def test_a_target_is_at_each_of_its_endpoints_what_it_is_but_for_the_address() -> None:
    other = DicomEndpoint(host="b", port=105, called_aet="B")
    target = DicomTarget(slug="p", name="p", host="a", port=104, called_aet="A", endpoints=(other,), max_pdu=4096)
    there = at_endpoint(target, "B@b:105")
    assert isinstance(there, DicomTarget)
    assert (there.host, there.port, there.called_aet, there.max_pdu) == ("b", 105, "B", 4096)
    assert at_endpoint(target, "A@a:104") == target
    with pytest.raises(ValidationError, match="address of its own"):
        target.model_validate(target.model_dump() | {"endpoints": [{"host": "a", "port": 104, "called_aet": "A"}]})


def test_a_secret_is_not_kept_for_an_endpoint_that_was_added() -> None:
    sealer = Sealer(SecretStr("a key of at least 32 characters ..."))
    auth = BearerAuth(token=SecretStr("secret"))
    plain = Targets(targets=(StowTarget(slug="w", name="w", url="https://a", auth=auth),))
    kept = sealed_targets(plain, Targets(), sealer)
    added = kept.targets[0].model_copy(update={"endpoints": (StowEndpoint(url="https://thief"),)})
    with pytest.raises(SecretRefusedError, match="type it again"):
        sealed_targets(Targets(targets=(added,)), kept, sealer)


def test_the_share_of_a_bandwidth_follows_the_places() -> None:
    waited: list[float] = []
    throttle = Throttle(100_000)
    throttle.share(1, 4)
    throttle.wait(50_000, lambda: True)

    def may_wait() -> bool:
        waited.append(1)
        return False

    throttle.wait(1, may_wait)
    assert waited  # the first 50,000 octets are two seconds of a quarter of the limit: the next one has to wait
