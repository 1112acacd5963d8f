"""Which presentation contexts are proposed for which instances, and in which transfer syntax each is then sent."""

from collections.abc import Callable, Sequence
from typing import Final

from hermes_common.changes import Changes, Transcode
from hermes_common.dicom.associate import MAX_CONTEXTS
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.runtime.dicom.requestor import Context
from hermes_dispatcher.adapters.objects import Item

_UNCOMPRESSED: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


def syntaxes_for(changes: Changes | None, own: str) -> tuple[str, ...]:
    """Return the transfer syntaxes to propose for an instance that came in ``own``, the most wanted first."""
    match Transcode.NEVER if changes is None else changes.transcode:
        case Transcode.NEVER:
            return (own,)
        case Transcode.ALWAYS if changes is not None:
            wanted = (*changes.transfer_syntaxes, EXPLICIT_LITTLE)  # the latter for data sets without pixels
        case _:
            wanted = (own, *(() if changes is None else changes.transfer_syntaxes), *_UNCOMPRESSED)
    return tuple(dict.fromkeys(wanted))


def plan(items: Sequence[Item], changes: Changes | None) -> list[tuple[list[Context], list[Item]]]:
    """Return the associations to make: the contexts of each, and the instances that it is for.

    What is proposed for one instance is never split over two associations.
    """
    kinds = dict.fromkeys((item.instance.sop_class_uid, item.instance.transfer_syntax_uid) for item in items)
    groups: list[tuple[dict[Context, None], set[Context]]] = []
    for sop_class, own in kinds:
        proposed = [(sop_class, syntax) for syntax in syntaxes_for(changes, own)]
        if not groups or len({*groups[-1][0], *proposed}) > MAX_CONTEXTS:
            groups.append(({}, set()))
        groups[-1][0].update(dict.fromkeys(proposed))
        groups[-1][1].add((sop_class, own))
    return [([*contexts], [item for item in items if _kind(item) in members]) for contexts, members in groups]


def _kind(item: Item) -> Context:
    return item.instance.sop_class_uid, item.instance.transfer_syntax_uid


def other_syntax(changes: Changes | None, item: Item, accepts: Callable[[str, str], bool]) -> str | None:
    """Return the transfer syntax that the target takes instead of the instance's own; None if it takes none."""
    sop_class, own = _kind(item)
    return next((syntax for syntax in syntaxes_for(changes, own) if accepts(sop_class, syntax)), None)
