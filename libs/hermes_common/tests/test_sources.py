"""Who may send, and how it is said."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hermes_common.config import CalledTitle, Source, SourceMode, Sources, SourceUser
from hermes_common.passcodes import hash_passcode, passcode_fits
from hermes_common.sources import Admission, Caller, Refusal, Why, is_open, judge_caller, policy_words

ANYBODY = "open: anybody who reaches the port may send"
OPEN, LIST = SourceMode.OPEN, SourceMode.ALLOW_LIST


def source(slug: str, **fields: object) -> Source:
    return Source.model_validate({"slug": slug, "name": slug} | fields)


def test_the_first_entry_that_matches_decides_and_the_mode_about_everybody_else():
    sources = Sources(
        mode=LIST,
        sources=(
            source("bad", network="10.1.0.0/16", allow=False),
            source("ct", calling_aet="CT 01", network="10.0.0.0/8"),
            source("gate", called_aet="GATE"),
        ),
    )
    assert judge_caller(sources, Caller("CT 01", "H", "10.2.3.4")) == Admission()
    assert judge_caller(sources, Caller("CT 01", "H", "::ffff:10.2.3.4")) == Admission()
    assert judge_caller(sources, Caller("CT 01", "H", "10.1.3.4")) == Refusal("the source bad is denied")
    assert judge_caller(sources, Caller("ANY", "GATE", "192.168.1.1")) == Admission()
    assert isinstance(judge_caller(sources, Caller("CT 01", "H", "192.168.1.1")), Refusal)


def test_a_called_ae_title_has_a_policy_of_its_own():
    sources = Sources(called=(CalledTitle(aet="TRIAL", mode=LIST), CalledTitle(aet="HERMES")))
    assert judge_caller(sources, Caller("X", "HERMES", "10.0.0.1")) == Admission()
    assert judge_caller(sources, Caller("X", "OTHER", "10.0.0.1")) == Admission()
    refusal = judge_caller(sources, Caller("X", "TRIAL", "10.0.0.1"))
    assert isinstance(refusal, Refusal)
    assert refusal.why is Why.CALLING


@pytest.mark.parametrize(
    ("sources", "words", "open_"),
    [
        (Sources(), "open: anybody who reaches the port may send", True),
        (
            Sources(sources=(source("a", calling_aet="A", allow=False),)),
            "open: anybody who reaches the port may send, except for what 1 entry names to be denied",
            True,
        ),
        (Sources(mode=LIST), "allow-list: nobody may send yet", False),
        (
            Sources(mode=LIST, sources=(source("a", calling_aet="A"), source("b", calling_aet="B"))),
            "allow-list: only what 2 entries name may send",
            False,
        ),
        (
            Sources(called=(CalledTitle(aet="A", mode=LIST),), only_called=True),
            f"{ANYBODY}; only these called AE titles are served: A; A is an allow-list",
            False,
        ),
        (
            Sources(mode=LIST, called=(CalledTitle(aet="A", mode=OPEN),)),
            "allow-list: nobody may send yet; A is open",
            True,
        ),
    ],
)
def test_the_policy_is_said_in_words(sources, words, open_):
    assert policy_words(sources) == words
    assert is_open(sources) is open_


def test_a_passcode_is_kept_as_a_salted_hash_only():
    kept = hash_passcode(b"open sesame", b"0123456789abcdef")
    assert "sesame" not in kept
    assert passcode_fits(b"open sesame", kept)
    assert not passcode_fits(b"open sesamE", kept)
    assert not passcode_fits(b"open sesame", "scrypt$AA$AA")
    with pytest.raises(ValidationError, match="never the passcode itself"):
        SourceUser(name="anna", passcode="open sesame")


def test_a_called_ae_title_is_there_once():
    with pytest.raises(ValidationError, match="more than once"):
        Sources(called=(CalledTitle(aet="A"), CalledTitle(aet="A ")))
