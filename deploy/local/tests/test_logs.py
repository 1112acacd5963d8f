"""Logs stay small while programs go on appending."""

import os

from hermes_local.logs import last_lines, numbered, rotate


def test_a_full_log_moves_aside_and_the_program_goes_on_in_the_same_file(tmp_path):
    log = tmp_path / "x.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(6):
        os.write(descriptor, f"{number}".encode() * 101)
        assert rotate(log, limit_bytes=100, kept=3)
        assert log.stat().st_size == 0
    os.write(descriptor, b"new\n")
    os.close(descriptor)
    assert log.read_text() == "new\n"
    assert [numbered(log, n).read_text()[0] for n in (1, 2, 3)] == ["5", "4", "3"]
    assert not numbered(log, 4).exists()


def test_a_small_or_missing_log_stays(tmp_path):
    assert not rotate(tmp_path / "none.log")
    (tmp_path / "x.log").write_text("a")
    assert not rotate(tmp_path / "x.log")


def test_the_last_lines_are_those_of_this_run(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("old\n" + "new\n\nnewest \n")
    assert last_lines(log, since=4) == ["new", "newest"]
    assert last_lines(log, count=1) == ["newest"]
    assert last_lines(log, since=10**6)[0] == "old"
    assert last_lines(tmp_path / "none") == []
