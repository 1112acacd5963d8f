"""What is believed of an identity provider, and which codes of a second factor are good: without a server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest

from hermes_web.core.identity import (
    Expected,
    Person,
    Refused,
    RoleMapping,
    handshake,
    person_of,
    token_refusal,
    usable_algorithms,
)
from hermes_web.core.onetime import accepted_step, is_recovery
from hermes_web.core.roles import Principal, Role, needs_factor

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
EXPECTED = Expected("https://id.test", "hermes", "the nonce")
GOOD: dict[str, Any] = {
    "iss": "https://id.test",
    "aud": "hermes",
    "sub": "4711",
    "nonce": "the nonce",
    "iat": AT.timestamp(),
    "exp": AT.timestamp() + 300,
}
MAPPING = RoleMapping("groups", frozenset({"hermes-admins"}), frozenset({"radiology"}))
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def test_the_claims_of_a_fresh_token_for_us_are_accepted() -> None:
    assert token_refusal(GOOD, EXPECTED, AT) is None
    assert token_refusal({**GOOD, "aud": ["hermes", "other"], "azp": "hermes"}, EXPECTED, AT) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"iss": "https://id.test.evil.test"}, "issuer"),
        ({"iss": "https://id.test/"}, "issuer"),
        ({"aud": "another"}, "another client"),
        ({"aud": ["another"]}, "another client"),
        ({"aud": ["hermes", "other"]}, "given to another client"),
        ({"azp": "other"}, "given to another client"),
        ({"aud": {"hermes": 1}}, "another client"),
        ({"nonce": "of another try"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"sub": ""}, "who it is about"),
        ({"sub": 7}, "who it is about"),
        ({"sub": "x" * 256}, "who it is about"),
        ({"exp": AT.timestamp() - 61}, "expired"),
        ({"exp": None}, "when it was made"),
        ({"exp": True}, "when it was made"),
        ({"exp": 1e300}, "when it was made"),
        ({"exp": float("nan")}, "when it was made"),
        ({"iat": AT.timestamp() + 61}, "future"),
        ({"nbf": AT.timestamp() + 61}, "future"),
        ({"nbf": "soon"}, "when it was made"),
        ({"iat": AT.timestamp() - 700}, "older than ten minutes"),
    ],
)
def test_claims_that_are_not_for_us_or_not_of_now_are_refused_with_the_reason(
    change: dict[str, Any], word: str
) -> None:
    assert word in str(token_refusal({**GOOD, **change}, EXPECTED, AT))


@pytest.mark.parametrize("skew", [timedelta(seconds=-59), timedelta(seconds=59)])
def test_clocks_that_differ_by_less_than_a_minute_do_no_harm(skew: timedelta) -> None:
    made = AT + skew
    claims = {**GOOD, "iat": made.timestamp(), "nbf": made.timestamp(), "exp": made.timestamp() + 1}
    assert token_refusal(claims, EXPECTED, AT) is None


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["hermes-admins", "radiology"], "admin"),
        ("radiology", "viewer"),
        (["radiology", 7, None], "viewer"),
        (["Hermes-Admins"], None),
        (["hermes-admins "], None),
        ([], None),
        ({"hermes-admins": True}, None),
        (None, None),
    ],
)
def test_a_role_comes_from_a_value_that_is_named_and_without_one_nobody_comes_in(groups: Any, role: Any) -> None:
    found = person_of({"sub": "1", "groups": groups}, "https://id.test", "preferred_username", MAPPING)
    assert (found.role if isinstance(found, Person) else None) == role
    if isinstance(found, Refused):
        assert "groups" in found.reason


def test_a_claim_is_found_by_its_path_and_by_a_name_with_dots() -> None:
    nested = {"sub": "1", "realm_access": {"roles": ["radiology"]}, "https://x.test/roles": ["hermes-admins"]}
    for claim, role in (("realm_access.roles", "viewer"), ("https://x.test/roles", "admin")):
        mapping = RoleMapping(claim, MAPPING.admins, MAPPING.viewers)
        found = person_of(nested, "https://id.test", "preferred_username", mapping)
        assert isinstance(found, Person)
        assert found.role == role


@pytest.mark.parametrize("name", [None, 7, "<script>", "Maria Huber", "", "a" * 70])
def test_a_name_that_cannot_be_an_account_is_replaced_by_one_that_stays_the_same(name: Any) -> None:
    claims = {"sub": "1", "groups": "radiology", "preferred_username": name}
    first, second = (person_of(claims, "https://id.test", "preferred_username", MAPPING) for _ in range(2))
    assert isinstance(first, Person)
    assert first.name.startswith("sso-")
    assert first == second


def test_nothing_of_a_handshake_says_anything_of_another() -> None:
    one, two = handshake("a"), handshake("b")
    assert len({one.state, one.nonce, one.verifier, one.challenge, two.state, two.nonce, two.verifier}) == 7
    assert 43 <= len(one.verifier) <= 128


def test_signatures_with_the_clients_secret_or_without_a_key_are_never_used() -> None:
    assert usable_algorithms(["none", "HS256"]) == ["RS256"]
    assert usable_algorithms(["none", "HS256", "ES256"]) == ["ES256"]


def code(at: datetime) -> str:
    return pyotp.TOTP(SECRET).at(at)


def test_a_code_is_good_once_and_neither_is_an_earlier_one_after_it() -> None:
    step = accepted_step(SECRET, code(AT), AT, None)
    assert step is not None
    assert accepted_step(SECRET, code(AT), AT, step) is None
    assert accepted_step(SECRET, code(AT - timedelta(seconds=30)), AT, step) is None
    assert accepted_step(SECRET, code(AT + timedelta(seconds=30)), AT, step) == step + 1


@pytest.mark.parametrize(("seconds", "is_good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_telephone_may_be_one_step_early_or_late(seconds: int, is_good: bool) -> None:
    assert (accepted_step(SECRET, code(AT + timedelta(seconds=seconds)), AT, None) is not None) is is_good


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "0x1234"])
def test_what_is_no_code_never_fits(typed: str) -> None:
    assert accepted_step(SECRET, typed, AT, None) is None


def test_the_vectors_of_the_standard_hold() -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B, SHA-1, the last six digits
    for seconds, expected in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        at = datetime.fromtimestamp(seconds, UTC)
        assert accepted_step(secret, f"{expected[:3]} {expected[3:]}", at, None) == seconds // 30


def test_a_recovery_code_is_told_from_six_digits() -> None:
    assert is_recovery("abcde-fghij-kmnpq-rstuv")
    assert not is_recovery("123 456")


@pytest.mark.parametrize(
    ("policy", "role", "needed"),
    [("optional", Role.ADMIN, False), ("administrators", Role.ADMIN, True), ("administrators", Role.VIEWER, False),
     ("everybody", Role.VIEWER, True)],
)  # fmt: skip
def test_of_whom_a_second_factor_is_asked(policy: Any, role: Role, needed: bool) -> None:
    assert needs_factor(policy, Principal("p", role, "session")) is needed
    assert not needs_factor(policy, Principal("p", role, "session", has_factor=True))
    assert not needs_factor(policy, Principal("p", role, "session", is_external=True))
    assert not needs_factor(policy, Principal("p", role, "token"))
