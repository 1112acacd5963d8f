"""One instance after the other, for kinds whose targets take files: the loop, the names and the bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hermes_common.dicom.part10 import encode_file_meta
from hermes_common.ids import check_uid
from hermes_common.templates import render
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.steps import TroubleError
from hermes_dispatcher.core.outcomes import NotDelivered, Outcome, Trouble

_OF_THIS_INSTANCE = frozenset({Trouble.CORRUPT, Trouble.ABSENT, Trouble.UNCHANGEABLE, Trouble.REFUSED})


def one_by_one(
    items: Sequence[Item],
    supply: Supply,
    report: Report,
    permit: Permit,
    put: Callable[[Item, Prepared], Outcome],
) -> NotDelivered | None:
    """Hand each instance to ``put`` and report its outcome; the first trouble that is not its own ends the attempt."""
    stream = supply(items)
    try:
        for item, prepared in stream:
            try:
                if not permit.may_send:
                    return None
                outcome = prepared if isinstance(prepared, NotDelivered) else _outcome(put, item, prepared)
            finally:
                if isinstance(prepared, Prepared):
                    prepared.close()
            report(item, outcome, prepared.octets if isinstance(prepared, Prepared) else 0)
            if isinstance(outcome, NotDelivered) and outcome.trouble not in _OF_THIS_INSTANCE:
                return outcome
    finally:
        stream.close()
    return None


def _outcome(put: Callable[[Item, Prepared], Outcome], item: Item, prepared: Prepared) -> Outcome:
    try:
        return put(item, prepared)
    except TroubleError as error:
        return error.outcome


def head_of(prepared: Prepared) -> bytes:
    """Return what stands before the data set in a file: the received meta information without what is only ours."""
    return encode_file_meta(replace(prepared.meta, private_creator_uid="", private_information=b""))


def part10(prepared: Prepared) -> tuple[int, Iterator[bytes]]:
    """Return the size of the instance as a DICOM file, and its bytes."""
    head = head_of(prepared)

    def chunks() -> Iterator[bytes]:
        yield head
        yield from prepared.chunks()

    return len(head) + prepared.octets, chunks()


def name_of(template: str, item: Item, prepared: Prepared) -> str:
    """Return the relative name of an instance at its target."""
    instance = item.instance
    return render(
        template,
        {
            "study_uid": check_uid(item.study_uid),
            "series_uid": check_uid(item.series_uid),
            "sop_instance_uid": check_uid(instance.sop_instance_uid),
            "sop_class_uid": instance.sop_class_uid,
            "transfer_syntax_uid": instance.transfer_syntax_uid,
            "sender": prepared.meta.sending_aet,
            "digest": instance.digest[:16],
        },
    )


def beside(name: str, digest: str) -> str:
    """Return the name for other bytes under the same UID: they go beside what is there, which is left alone."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return f"{folder}{slash}{stem}-{digest[:16]}{dot}{suffix}" if dot and stem else f"{name}-{digest[:16]}"
