"""What a process of a service says of itself to whoever asks on the bus (:data:`ASK`); nothing about a patient."""

from pydantic import BaseModel, ConfigDict

from hermes_common.events.base import Time

ASK = "hermes.ask.state"
"""A question with no body; every process answers to the reply subject with a :class:`ServiceState`. In no stream."""


class ServiceState(BaseModel):
    """The state of a process. Additive: a field that an older release does not say has its default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    instance: str
    version: str
    started_at: Time
    ready: bool
    checks: dict[str, str] = {}
    """Each check of its health: ``ok``, or what is wrong."""
    memory: int | None = None
    """Octets of memory that it and its children hold (resident); None where the system does not say."""
    numbers: dict[str, float] = {}
    """What it measures, by names such as ``spool_disk_free``."""
    words: dict[str, str] = {}
    """What people need to know of it, such as ``dicom_aet``."""
