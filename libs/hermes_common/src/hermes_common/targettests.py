"""The test of a target: asked by the web service, made by a dispatcher, which stands where deliveries are sent from."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.ids import Slug

ASK = "hermes.ask.target.test"
"""Subject of the request; a dispatcher answers with :class:`TargetTested`."""


class TargetTestAsked(BaseModel):
    """A request to test a target as it is configured."""

    model_config = ConfigDict(frozen=True)

    slug: Slug


class Step(BaseModel):
    """One step of a test: what was done, whether it went well, how long it took, and what was found."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    milliseconds: float
    detail: Annotated[str, Field(max_length=1000)] = ""


class TargetTested(BaseModel):
    """What a test came to; the steps after one that failed were not made."""

    model_config = ConfigDict(frozen=True)

    target: Slug
    ok: bool
    steps: list[Step]
    dispatcher: str = ""
    """Who made it."""
