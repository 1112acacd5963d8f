"""``python -m hermes_chaos.sum RECORD...``: one report of several runs, from the records that they wrote."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests/, for its harness

from hermes_chaos.report import Record, report


def main() -> int:
    """Print the report; with ``--report`` write it to a file too."""
    parser = argparse.ArgumentParser(prog="hermes_chaos.sum", description=__doc__)
    parser.add_argument("records", nargs="+", type=Path, help="what --record wrote")
    parser.add_argument("--report", type=Path, help="write the report to this file too")
    given = parser.parse_args()
    text = report([Record.read(path) for path in given.records])
    print(text)
    if given.report is not None:
        given.report.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
