"""One process of a replay: its task on standard input, groups of series on standard output, one JSON object a line.

It is a process of its own so that the web service stays quick while rules are evaluated, and so that several processors
work. It ends when nobody reads any more, or when its time is up.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg2

from hermes_common.rules.replay import Condition, Group, Needs, Replay
from hermes_web.adapters.replay_source import Window, columns, copy_series

EVERY = 5000
"""Series between two lines."""
MOST_GROUPS = 2000
"""Groups of a line."""


def task(dsn: str, conditions: tuple[Condition, ...], window: Window, part: int, parts: int, seconds: int) -> bytes:
    """Return what the process is given to read."""
    document = {
        "dsn": dsn,
        "conditions": [asdict(condition) for condition in conditions],
        "since": window.since.isoformat(),
        "until": window.until.isoformat(),
        "part": part,
        "parts": parts,
        "seconds": seconds,
    }
    return json.dumps(document).encode()


def run(given: dict[str, Any]) -> None:
    """Do a task."""
    conditions = [Condition(**condition) for condition in given["conditions"]]
    needs = Needs.of(conditions)
    replay = Replay(conditions, columns(needs))
    taken = 0

    def take(uid: str, at: float, values: list[bytes]) -> None:
        nonlocal taken
        replay.take(uid, at, values)
        taken += 1
        if taken >= EVERY or len(replay.groups) >= MOST_GROUPS:
            _say(taken, replay.drain())
            taken = 0

    options = f"-c statement_timeout={given['seconds'] * 1000} -c timezone=UTC"
    window = Window(datetime.fromisoformat(given["since"]), datetime.fromisoformat(given["until"]))
    connection = psycopg2.connect(given["dsn"], connect_timeout=3, options=options, application_name="hermes-replay")
    try:
        copy_series(connection, needs, window, given["part"], given["parts"], take)
    finally:
        connection.close()
    _say(taken, replay.drain())


def _say(series: int, groups: dict[str, Group]) -> None:
    found = [[codes, group.count, group.samples] for codes, group in groups.items()]
    sys.stdout.write(json.dumps({"series": series, "groups": found}) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run the process: 0 done, 1 with a line on standard error; nobody is left to say it to if the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process
    try:
        run(json.load(sys.stdin))
    except psycopg2.Error as error:
        sys.stderr.write((str(error).strip().splitlines() or [type(error).__name__])[0] + "\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
