"""What a person asks for: messages on the work stream that the owner of the state carries out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.ids import Slug, Uid
from hermes_common.targets import Priority


class Command(BaseModel):
    """A request, with the id under which it is carried out once, and who made it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    command_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    actor: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(max_length=2000)] = ""


class SeriesCommand(Command):
    """To the router: send a series to targets, evaluate the rules again, or discard it."""

    series_uid: Uid
    action: Literal["route", "reevaluate", "discard"]
    targets: tuple[Slug, ...] = ()
    """For ``route``: where to."""
    batch_ids: tuple[str, ...] = ()
    """For ``route``: which batches of the series; all of them if none is named."""
    priority: Priority = Priority.NORMAL
    """For ``route``: how soon."""


class StudyCommand(Command):
    """To the router: take a study as complete now, send every series of it to targets, or discard what of it is
    undecided and goes nowhere.
    """

    study_uid: Uid
    action: Literal["complete", "route", "discard"]
    targets: tuple[Slug, ...] = ()
    """For ``route``: where to."""


class DeliveryCommand(Command):
    """To the dispatcher: make a delivery again, hold it, stop it, send its batch elsewhere, take it as done with."""

    delivery_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    action: Literal["restart", "hold", "release", "cancel", "reroute", "dismiss"]
    scope: Literal["missing", "all"] = "missing"
    """For ``restart``: what to send."""
    to: Slug | None = None
    """For ``reroute``: the target that the batch goes to instead."""
    bulk: Annotated[str, Field(max_length=64)] = ""
    """Id of the bulk action that it is a part of; empty if it is of none."""


class DeliveryWork(BaseModel):
    """An entry of a target's work queue. Everything about the delivery is in its live record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    delivery_id: str
