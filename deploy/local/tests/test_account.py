"""The account of PostgreSQL when the launcher is root, and its way to its data."""

import os
import subprocess

import pytest

from hermes_local.account import Account, let_pass, unprivileged

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
NOBODY, SOMEBODY = 65534, 12345


def can_read(path, uid):
    return (
        subprocess.run(["cat", path], user=uid, group=uid, extra_groups=[], capture_output=True, check=False).returncode
        == 0
    )


def test_exactly_this_account_may_pass_and_may_not_look_around(tmp_path):
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    file = inner / "file"
    file.write_text("x")
    file.chmod(0o644)
    for folder in (*reversed(tmp_path.parents), tmp_path):
        if not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    closed.chmod(0o700)
    inner.chmod(0o700)
    account = Account("nobody", NOBODY, NOBODY)
    assert not can_read(file, NOBODY)
    let_pass(account, file)
    let_pass(account, file)
    assert can_read(file, NOBODY)
    assert not can_read(file, SOMEBODY)
    listing = subprocess.run(
        ["ls", closed], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
    )
    assert listing.returncode != 0


def test_the_owner_of_the_data_stays_the_account(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    account = unprivileged(data)
    assert account is not None
    assert account.uid == NOBODY


def test_a_new_cluster_gets_an_account_that_is_not_root(tmp_path):
    account = unprivileged(tmp_path / "data")
    assert account is not None
    assert account.uid != 0
