"""What the dispatcher counts (Prometheus). Targets are named by slug."""

from prometheus_client import Counter, Histogram

INSTANCES = Counter(
    "hermes_dispatcher_instances", "Instances that came to an outcome, by target and result", ["target", "result"]
)
OCTETS = Counter("hermes_dispatcher_octets", "Octets of the data sets of delivered instances, by target", ["target"])
ATTEMPTS = Histogram(
    "hermes_dispatcher_attempt_seconds",
    "Duration of attempts, by target and what became of the delivery",
    ["target", "end"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
)
