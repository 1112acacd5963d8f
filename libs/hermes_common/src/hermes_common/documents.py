"""What all configuration documents have in common."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Base of everything in a configuration document: unknown fields are mistakes, and are named."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


def refuse_repeats(what: str, slugs: list[str], kind: str = "short name") -> None:
    """Raise ValueError that names the slugs that occur more than once."""
    repeated = sorted({slug for slug in slugs if slugs.count(slug) > 1})
    if repeated:
        raise ValueError(f"each {what} needs a {kind} of its own; repeated: {', '.join(repeated)}")
