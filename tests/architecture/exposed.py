"""Prints as JSON the metrics that a service registers: ``python exposed.py hermes_router``."""

import importlib
import json
import pkgutil
import sys

from prometheus_client import REGISTRY


def main(package: str) -> None:
    """Import every module of a package and of the runtime, and print what is in the registry."""
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)
    metrics = []
    for collector in list(REGISTRY._collector_to_names):  # nothing public tells the labels of one without values
        name, kind = getattr(collector, "_name", ""), getattr(collector, "_type", "")
        if name.startswith("hermes_"):
            exposed = f"{name}_total" if kind == "counter" else name
            metrics.append([exposed, kind, list(collector._labelnames)])
    json.dump(sorted(metrics), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
