"""What the build of the assets made (``services/web/assets/build.py``): where it lies and under which names."""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "/assets"


@dataclass(frozen=True, slots=True)
class Assets:
    """The folder to serve below ``/assets``, and the address of each asset by its name in the sources."""

    folder: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict)


def find_assets() -> Assets:
    """Return what was built: in the package, or, where a checkout cannot be written, in the environment.

    Without it pages are shown without style and scripts, and say so: the way of images does not depend on it.
    """
    for folder in (Path(__file__).parent.parent / "static" / "built", Path(sys.prefix) / "share/hermes-web/built"):
        try:
            names = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
        except FileNotFoundError:
            continue
        return Assets(folder, {name: f"{PREFIX}/{built}" for name, built in names.items()})
    log.error("the style sheet and the scripts of the pages are not built: python services/web/assets/build.py")
    return Assets()
