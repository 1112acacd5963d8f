"""Write the schemas of all events, and a golden message for each type that has none yet (``just contracts``)."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from samples import SAMPLES, envelope

from hermes_common.events import encode

HERE = Path(__file__).parent


def write(path: Path, value: object) -> None:
    """Write JSON that is the same on every machine."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    """Write what is missing or out of date."""
    for sample in SAMPLES:
        write(HERE / "schemas" / f"{sample.type()}.json", type(sample).model_json_schema(mode="serialization"))
        golden = HERE / "golden" / f"{sample.type()}.json"
        if not golden.exists():
            subject, headers, body = encode(envelope(sample))
            write(golden, {"subject": subject, "headers": headers, "data": json.loads(body)})


if __name__ == "__main__":
    main()
