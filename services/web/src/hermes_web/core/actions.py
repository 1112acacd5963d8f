"""Which actions fit which state of a delivery."""

from typing import Literal

from hermes_common.records import ENDED, DeliveryState

DeliveryAction = Literal["restart", "cancel", "dismiss"]


def refusal(action: DeliveryAction, state: str) -> str | None:
    """Return why an action does not fit the present state, or None. The dispatcher has the last word."""
    known = DeliveryState(state)
    match action:
        case "restart" if known not in ENDED:
            return f"it is {state}: only a delivery that has ended can be restarted"
        case "cancel" if known in ENDED:
            return f"it is {state}: only a delivery that has not ended can be cancelled"
        case "dismiss" if known is not DeliveryState.FAILED:
            return f"it is {state}: only a failed delivery can be dismissed"
        case _:
            return None


def possible(state: str) -> list[DeliveryAction]:
    """Return the actions that fit a state."""
    actions: tuple[DeliveryAction, ...] = ("restart", "cancel", "dismiss")
    return [action for action in actions if refusal(action, state) is None]
