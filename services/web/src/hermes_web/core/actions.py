"""Which actions fit which state of a delivery."""

from typing import Literal, get_args

from hermes_common.records import ENDED, DeliveryState

DeliveryAction = Literal["restart", "hold", "release", "cancel", "reroute", "dismiss"]
ACTIONS: tuple[DeliveryAction, ...] = get_args(DeliveryAction)
WITH_REASON = frozenset({"hold", "cancel", "reroute"})
"""Actions that somebody else will ask about: they need a reason."""


def refusal(action: DeliveryAction, state: str, *, uncommitted: bool = False) -> str | None:  # noqa: PLR0911  # a table: one line a case
    """Return why an action does not fit the present state, or None. The dispatcher has the last word.

    ``uncommitted``: it arrived, and the target, asked for storage commitment, has not given it.
    """
    known = DeliveryState(state)
    match action:
        case "restart" if known not in ENDED:
            return f"it is {state}: only a delivery that has ended can be restarted"
        case "hold" if known in ENDED or known is DeliveryState.HELD:
            return f"it is {state}: only a delivery that has not ended and is not held can be held"
        case "release" if known is not DeliveryState.HELD:
            return f"it is {state}: only a held delivery can be released"
        case "cancel" if known in ENDED:
            return f"it is {state}: only a delivery that has not ended can be cancelled"
        case "reroute" if known in ENDED and known is not DeliveryState.FAILED:
            return f"it is {state}: only a delivery that has not ended, or has failed, can be rerouted"
        case "dismiss" if known is not DeliveryState.FAILED and not uncommitted:
            return f"it is {state}: only a failed delivery can be dismissed"
        case _:
            return None


def possible(state: str, *, uncommitted: bool = False) -> list[DeliveryAction]:
    """Return the actions that fit a state."""
    return [action for action in ACTIONS if refusal(action, state, uncommitted=uncommitted) is None]
