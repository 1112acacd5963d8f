"""What the receiver counts (Prometheus)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ASSOCIATIONS = Gauge("hermes_receiver_associations", "Associations that are open", multiprocess_mode="livesum")
REJECTED = Counter("hermes_receiver_associations_rejected", "Associations that were rejected")
ABORTED = Counter("hermes_receiver_associations_aborted", "Associations that ended without a release")
INSTANCES = Counter("hermes_receiver_instances", "C-STORE requests by outcome", ["outcome"])
OCTETS = Counter("hermes_receiver_octets", "Bytes of data sets answered with Success")
UPLOADED = Counter("hermes_receiver_uploaded", "Entries put into the object store and announced", ["kind"])
UPLOAD_RETRIES = Counter("hermes_receiver_upload_retries", "Attempts to upload or announce that will be made again")
PENDING = Gauge(
    "hermes_receiver_spool_pending_octets",
    "Bytes in the spool that are not in the object store yet",
    multiprocess_mode="livemostrecent",
)
SAY_DROPPED = Counter("hermes_receiver_events_dropped", "Association events dropped while the bus was away")
