"""The supply of instances for a target that has them changed on the way (see :class:`Supply`).

The digest of what was received is checked first, as always. What is handed on is the changed instance: its UIDs,
transfer syntax and digest are those of what is sent. One that cannot be changed comes as the reason, never unchanged.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from hermes_common.changes import Changes, Transcode
from hermes_common.dicom.part10 import FileMeta
from hermes_common.manifest import ManifestInstance
from hermes_common.previews import Preview
from hermes_common.runtime.sealing import Sealer, SealingError, opened
from hermes_common.targets import AnyTarget
from hermes_dispatcher.adapters.changer import Changer, Result
from hermes_dispatcher.adapters.objects import AHEAD, Item, Objects, Prepared, Supply, discard
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

Supplied = tuple[Item, Prepared | NotDelivered]


class Supplies:
    """Makes the supply for a target: that of the store as it is, unless something is to be changed."""

    def __init__(self, objects: Objects, changer: Changer, sealer: Sealer) -> None:
        self._objects = objects
        self._changer = changer
        self._sealer = sealer

    def of(self, target: AnyTarget) -> Supply:
        """Return the supply for a target as it is stored."""
        if target.changes is None or target.changes.does_nothing:
            return self._objects.supply
        try:
            changes = opened(target, self._sealer).changes
        except SealingError as error:
            return _closed(str(error))
        if changes is None:
            raise AssertionError("opening secrets removes nothing")
        return ChangedSupply(self._objects, self._changer, changes)

    def preview(self, target: AnyTarget, instance: ManifestInstance) -> Preview:
        """Return what a delivery would send instead of an instance, or why it would send nothing."""
        changes = target.changes
        uid, syntax = instance.sop_instance_uid, instance.transfer_syntax_uid
        if changes is not None and not changes.does_nothing:
            try:
                changes = opened(target, self._sealer).changes
            except SealingError as error:
                return Preview(ok=False, reason=str(error), sop_instance_uid=uid)
        prepared = self._objects.prepare(instance)
        if isinstance(prepared, NotDelivered):
            return Preview(ok=False, reason=prepared.reason, sop_instance_uid=uid)
        order = order_of(changes or Changes(), syntax, self._changer.limits.memory)
        try:
            result = self._changer.change(order, prepared.octets, prepared.chunks, compare=True)
        finally:
            prepared.close()
        if isinstance(result, NotDelivered):
            return Preview(ok=False, reason=result.reason, sop_instance_uid=uid)
        return Preview(
            ok=True,
            sop_instance_uid=result.sop_instance_uid,
            transfer_syntax_uid=result.syntax,
            differences=list(result.differences),
            changed=result.changed,
            same=result.same,
        )


def order_of(changes: Changes, syntax: str, memory: int) -> Order:
    """Return what is to be done to an instance of that transfer syntax before it is offered to the target."""
    to = changes.transfer_syntaxes[0] if changes.transcode is Transcode.ALWAYS else None
    return Order(syntax, changes if changes.alters else None, to, changes.lossy_ratio, memory)


def _closed(reason: str) -> Supply:
    def supply(items: Sequence[Item]) -> Generator[Supplied, None, None]:
        for item in items:
            yield item, NotDelivered(Trouble.REJECTED, reason)

    return supply


class ChangedSupply:
    """Yields instances changed as ``changes`` (its key in plain) say."""

    def __init__(self, objects: Objects, changer: Changer, changes: Changes) -> None:
        self._objects = objects
        self._changer = changer
        self._changes = changes

    def __call__(self, items: Sequence[Item]) -> Generator[Supplied, None, None]:
        """Yield each item with its data set; a few are changed ahead."""
        pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="change-ahead")
        waiting: list[Future[Supplied]] = []
        try:
            for item in items:
                waiting.append(pool.submit(self.one, item))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for future in waiting:
                future.add_done_callback(_discard)

    def one(self, item: Item) -> Supplied:
        """Read, check and change one instance."""
        prepared = self._objects.prepare(item.instance)
        if isinstance(prepared, NotDelivered):
            return item, prepared
        order = order_of(self._changes, item.instance.transfer_syntax_uid, self._changer.limits.memory)
        if order.changes is None and order.to in (None, order.syntax):
            return item, self._recodable(prepared)
        return self._changed(item, prepared, order)

    def recoded(self, item: Item, prepared: Prepared, to: str) -> Supplied:
        """Return the instance in another transfer syntax, and close it as it was."""
        order = order_of(self._changes, item.instance.transfer_syntax_uid, self._changer.limits.memory)
        return self._changed(item, prepared, replace(order, changes=None, to=to))

    def _recodable(self, prepared: Prepared) -> Prepared:
        if self._changes.transcode is not Transcode.IF_NEEDED:
            return prepared
        return replace(prepared, recoded=self.recoded)

    def _changed(self, item: Item, prepared: Prepared, order: Order) -> Supplied:
        try:
            at_once = replace(prepared, pace=None)  # the limit is on what is sent
            result = self._changer.change(order, prepared.octets, at_once.chunks)
        finally:
            prepared.close()
        if isinstance(result, NotDelivered):
            return item, result
        is_hidden = self._changes.deidentify is not None
        made = replace(_prepared(prepared.meta, result, is_hidden=is_hidden), pace=prepared.pace)
        return _item(item, result), self._recodable(made)


def _item(item: Item, result: Result) -> Item:
    instance = item.instance.model_copy(
        update={
            "sop_class_uid": result.sop_class_uid,
            "sop_instance_uid": result.sop_instance_uid,
            "transfer_syntax_uid": result.syntax,
            "digest": result.digest,
            "octets": result.octets,
        }
    )
    return replace(item, instance=instance, series_uid=result.series_uid, study_uid=result.study_uid)


def _prepared(meta: FileMeta, result: Result, *, is_hidden: bool) -> Prepared:
    """Return the changed data set with meta information that agrees with it. ``is_hidden``: it tells no sender."""
    bare = FileMeta(result.sop_class_uid, result.sop_instance_uid, result.syntax)
    same = replace(
        meta,
        sop_class_uid=result.sop_class_uid,
        sop_instance_uid=result.sop_instance_uid,
        transfer_syntax=result.syntax,
    )
    return Prepared(bare if is_hidden else same, result.octets, result.data, result.file)


def _discard(future: "Future[Supplied]") -> None:
    if not future.cancelled() and future.exception() is None:
        discard(future.result()[1])
