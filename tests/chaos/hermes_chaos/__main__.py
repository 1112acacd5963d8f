"""``python -m hermes_chaos``: the harness from the command line."""

import argparse
import logging
import os
import random
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests/, for its harness

from hermes_chaos.checker import LedgerViolation
from hermes_chaos.report import record, report
from hermes_chaos.run import Plan, run
from hermes_chaos.scenarios import APART, CHECKOUT, LAST, PAIRS, SCENARIOS

PLACES = "/usr/bin:/usr/sbin:/usr/local/bin"
"""Where DCMTK is: pynetdicom has a program of the same name in the environment."""
UNREACHED = 3


def main() -> int:
    """Run; print the seed first and the report last.

    Returns 0, 1 after a violation, 3 if there are crash points that nothing passed.
    """
    parser = argparse.ArgumentParser(prog="hermes_chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=120, help="faults at least, in whole passes (120)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="what chance starts from"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        choices=[*SCENARIOS, *LAST, *APART],
        help="only this one; may be repeated",
    )
    parser.add_argument("--seconds", type=float, help="begin no scenario after so many seconds")
    parser.add_argument("--random-kills", type=int, default=2, help="random kills of each service in a pass (2)")
    parser.add_argument(
        "--outage",
        action="append",
        default=[],
        help="servers and seconds for the scenario outages, nats+s3:30; may be repeated (each and every pair, 1 s)",
    )
    parser.add_argument("--report", type=Path, help="write the report to this file too")
    parser.add_argument("--record", type=Path, help="write what was done to this file, as JSON, for hermes_chaos.sum")
    parser.add_argument("--home", type=Path, help="where the router's data and logs go; kept")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("hermes_chaos").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # processes and volumes end in order
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    home = given.home or Path("/var/tmp") / f"hermes-chaos-{os.getpid()}"
    print(f"seed {given.seed}; logs in {home / 'logs'}", flush=True)
    outages = given.outage or [f"{names}:1" for names in PAIRS]
    plan = Plan(given.seed, given.cycles, given.scenario, given.seconds, given.random_kills, outages)
    try:
        result = run(plan, home, shutil.which("storescp", path=PLACES))
    except LedgerViolation as violation:
        print(f"seed {given.seed}: {violation}", file=sys.stderr)
        return 1
    done = record(result, CHECKOUT)
    text = report([done])
    print(text)
    if given.record is not None:
        done.write(given.record)
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text, encoding="utf-8")
    if given.home is None:
        shutil.rmtree(home, ignore_errors=True)
    return UNREACHED if result.world.tally.unreached else 0


if __name__ == "__main__":
    sys.exit(main())
