"""Secrets are made once and are their owner's only."""

import json
import os

import pytest

from hermes_local.errors import HomeUnusableError
from hermes_local.secrets import FILE, load_or_create


def test_secrets_stay_the_same_and_private(tmp_path):
    first, again = load_or_create(tmp_path), load_or_create(tmp_path)
    assert first == again
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert len(set(first.values.values()) | set(first.nats.values())) == len(first.values) + len(first.nats)


def test_the_text_of_an_object_shows_no_secret(tmp_path):
    kept = load_or_create(tmp_path)
    assert not any(value in repr(kept) for value in [*kept.values.values(), *kept.nats.values()])


def test_a_secret_that_a_newer_release_adds_is_made_and_the_others_stay(tmp_path):
    before = load_or_create(tmp_path)
    document = json.loads((tmp_path / FILE).read_text())
    del document["admin_token"], document["nats"]["web"]
    (tmp_path / FILE).write_text(json.dumps(document))
    after = load_or_create(tmp_path)
    assert after.admin_token != before.admin_token
    assert after.postgres == before.postgres
    assert after.nats.keys() == before.nats.keys()


def test_a_file_that_others_can_read_is_refused_with_what_to_do(tmp_path):
    load_or_create(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(HomeUnusableError, match="chmod 600"):
        load_or_create(tmp_path)


def test_a_link_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / FILE).symlink_to("/etc/hostname")
    with pytest.raises(HomeUnusableError):
        load_or_create(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(tmp_path):
    load_or_create(tmp_path)
    os.chown(tmp_path / FILE, 65534, 65534)
    with pytest.raises(HomeUnusableError, match="uid 65534"):
        load_or_create(tmp_path)


@pytest.mark.parametrize("text", ["{half", "[]"])
def test_a_damaged_file_is_not_overwritten(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(HomeUnusableError, match="backup"):
        load_or_create(tmp_path)
    assert (tmp_path / FILE).read_text() == text
