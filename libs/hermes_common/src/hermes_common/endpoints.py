"""The endpoints of a target: further addresses of the same archive, and how one of them is chosen (ADR 0018)."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hermes_common.addresses import Host, Port, Url
from hermes_common.documents import Document, refuse_repeats
from hermes_common.ids import AeTitle

MOST = 16
"""Endpoints of a target at most, its own address included."""

Weight = Annotated[int, Field(ge=1, le=100)]
AtOnce = Annotated[int, Field(ge=1, le=32)]


class Strategy(StrEnum):
    """Which of the endpoints that are up has the next attempt."""

    FAILOVER = "failover"
    """The first one; back to it when it is up again."""
    ROUND_ROBIN = "round_robin"
    """Each in turn."""
    WEIGHTED = "weighted"
    """In turn, by weight."""
    LEAST_BUSY = "least_busy"
    """The one with the fewest attempts under way for its weight."""
    STUDY_AFFINITY = "study_affinity"
    """One for each study, by its UID: a study stays together."""


class _Endpoint(Document):
    weight: Weight = 1
    concurrency: AtOnce | None = None
    """Deliveries at once to this one, where that is not what the target says."""


class DicomEndpoint(_Endpoint):
    """Another address of the same archive."""

    host: Host
    port: Port
    called_aet: AeTitle

    @property
    def name(self) -> str:
        """Return the address in one line."""
        return f"{self.called_aet}@{self.host}:{self.port}"


class StowEndpoint(_Endpoint):
    """Another address of the same DICOMweb service."""

    url: Url

    @property
    def name(self) -> str:
        """Return the address in one line."""
        return self.url


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a target, whatever its kind. ``name`` is its address in one line, empty if it has only one."""

    name: str
    concurrency: int
    weight: int = 1

    @property
    def token(self) -> str:
        """Return what stands for the endpoint in keys: the same as long as its address is."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]


def refuse_same(names: list[str]) -> None:
    """Raise ValueError that names the addresses that occur more than once."""
    refuse_repeats("endpoint", names, "address")
