"""Performed procedure steps (PS3.4 F.7) with pynetdicom as the modality: what is answered, kept and published."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage, ModalityPerformedProcedureStep

from hermes_common import events, subjects
from hermes_common.config import Source, Sources
from hermes_common.dicom import mpps as data_sets
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MPPS
from hermes_common.records import StepRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.settings import RuntimeSettings

STUDY, SERIES = "1.2.9", "1.2.9.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.67"


def item(**values: object) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def creation(**more: object) -> Dataset:
    """Return what a modality says when it begins; None takes an attribute out."""
    values = {
        "Modality": "CT", "PerformedStationAETitle": "CT01", "PerformedProcedureStepStartDate": "20260102",
        "PerformedProcedureStepStartTime": "101500", "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepID": "7", "ScheduledStepAttributesSequence": [item(StudyInstanceUID=STUDY)],
        "PatientName": "DOE^JANE", "PatientID": "4711", "PerformedSeriesSequence": [],
    } | more  # fmt: skip
    return item(**{name: value for name, value in values.items() if value is not None})


def series(uid: str = SERIES, images: int = 3, reports: int = 0) -> Dataset:
    def references(sop_class: str, first: int, count: int) -> list[Dataset]:
        numbers = range(first, first + count)
        return [item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=f"{uid}.{n}") for n in numbers]

    return item(
        SeriesInstanceUID=uid,
        ProtocolName="HEAD",
        ReferencedImageSequence=references(CT, 1, images),
        ReferencedNonImageCompositeSOPInstanceSequence=references(SR, 900, reports),
    )


def ending(status: str = "COMPLETED", *performed: Dataset, **more: object) -> Dataset:
    sequence = {"PerformedSeriesSequence": list(performed)} if performed else {}
    return item(PerformedProcedureStepStatus=status, PerformedProcedureStepEndDate="20260102", **sequence, **more)


class Modality:
    """Speaks of its steps over one association."""

    def __init__(self, port: int, syntax: str = EXPLICIT_LITTLE, aet: str = "CT01") -> None:
        ae = AE(ae_title=aet)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        self.association = ae.associate("127.0.0.1", port, [build_context(MPPS, syntax)], ae_title="HERMES")
        self.accepts = self.association.is_established and bool(self.association.accepted_contexts)

    def create(self, uid: str | None, data: Dataset | None = None) -> Dataset:
        data = creation() if data is None else data
        return self.association.send_n_create(data, ModalityPerformedProcedureStep, uid)[0]

    def set(self, uid: str, data: Dataset) -> Dataset:
        return self.association.send_n_set(data, ModalityPerformedProcedureStep, uid)[0]

    def close(self) -> None:
        self.association.release()


@pytest.fixture
def modality(receiver):
    made = Modality(receiver.port)
    assert made.accepts
    yield made
    made.close()


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_a_step_is_created_and_set_and_both_are_published_before_they_are_answered(receiver, syntax):
    modality, uid = Modality(receiver.port, syntax), generate_uid()
    assert modality.create(uid).Status == 0
    [created] = receiver.bus.of(events.MppsCreated)  # it is there when the answer is: nothing is waited for
    assert (created.sop_instance_uid, created.study_uid, created.studies) == (uid, STUDY, [STUDY])
    assert (created.status, created.sender.calling_aet, created.modality) == ("IN PROGRESS", "CT01", "CT")
    assert created.subject() == "hermes.v1.mpps.created.1-2-9"
    assert modality.set(uid, ending("IN PROGRESS", series(images=1))).Status == 0
    both = ending("COMPLETED", series(images=3, reports=2), series("1.2.9.2", images=0))
    assert modality.set(uid, both).Status == 0
    modality.close()
    first, last = receiver.bus.of(events.MppsSet)
    assert (first.status, first.series[0].images, first.change) == ("IN PROGRESS", 1, 2)
    assert (last.status, last.study_uid, last.change) == ("COMPLETED", STUDY, 3)
    assert [(each.series_uid, each.images, each.others) for each in last.series] == [(SERIES, 3, 2), ("1.2.9.2", 0, 0)]
    assert "DOE" not in "".join(receiver.bus.records[f"$KV.{subjects.HELD}.{subjects.step(uid)}"].decode())


def test_a_discontinued_step_needs_no_series_and_says_so(receiver, modality):
    uid = generate_uid()
    modality.create(uid)
    assert modality.set(uid, ending("DISCONTINUED")).Status == 0
    assert receiver.bus.of(events.MppsSet)[0].status == "DISCONTINUED"


def test_what_is_against_the_state_of_a_step_is_refused_as_the_standard_says(receiver, modality):
    uid = generate_uid()
    unknown = modality.set(uid, ending("COMPLETED", series()))
    assert unknown.Status == 0x0112
    assert modality.create(uid).Status == 0
    assert modality.create(uid).Status == 0x0111
    without = modality.set(uid, ending("COMPLETED"))
    assert (without.Status, without.AttributeIdentifierList) == (0x0120, 0x00400340)
    assert (
        modality.set(uid, item(PerformedProcedureStepStatus="COMPLETED", PerformedSeriesSequence=[])).Status == 0x0121
    )
    assert modality.set(uid, ending("COMPLETED", series())).Status == 0
    for late in (ending("COMPLETED", series()), ending("IN PROGRESS"), ending("DISCONTINUED")):
        answer = modality.set(uid, late)
        assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
        assert "may no longer be updated" in answer.ErrorComment
    assert modality.create(uid).Status == 0x0111
    assert len(receiver.bus.of(events.MppsCreated)) == len(receiver.bus.of(events.MppsSet)) == 1


@pytest.mark.parametrize(
    ("changed", "status", "tag"),
    [
        ({"PerformedProcedureStepStatus": None}, 0x0120, 0x00400252),
        ({"ScheduledStepAttributesSequence": None}, 0x0120, 0x00400270),
        ({"ScheduledStepAttributesSequence": []}, 0x0121, 0x00400270),
        ({"ScheduledStepAttributesSequence": [item(AccessionNumber="1")]}, 0x0120, 0x0020000D),
        ({"ScheduledStepAttributesSequence": [item(StudyInstanceUID="")]}, 0x0121, 0x0020000D),
        ({"Modality": ""}, 0x0121, 0x00080060),
        ({"PerformedStationAETitle": None}, 0x0120, 0x00400241),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, 0x00400252),
        ({"PerformedProcedureStepStatus": "FINISHED"}, 0x0106, 0x00400252),
        ({"PerformedSeriesSequence": [item(ProtocolName="HEAD")]}, 0x0120, 0x0020000E),
    ],
)  # fmt: skip
def test_what_is_missing_empty_or_invalid_is_named(receiver, modality, changed, status, tag):
    answer = modality.create(generate_uid(), creation(**changed))
    assert answer.Status == status
    assert answer.ErrorComment
    assert receiver.bus.of(events.MppsCreated) == []
    with pytest.raises(data_sets.InvalidStep) as refused:  # pynetdicom drops the list of attributes of this response
        data_sets.parse_create(encode(creation(**changed), is_implicit_vr=True, is_little_endian=True), IMPLICIT_LITTLE)
    assert refused.value.tags == (tag,)
    assert modality.create(generate_uid()).Status == 0  # the association goes on


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_uids_that_are_none_are_refused_and_never_become_a_key(receiver, modality):
    assert modality.create(None).Status == 0x0117
    hostile = "../../etc/passwd"
    study = creation(ScheduledStepAttributesSequence=[item(StudyInstanceUID=hostile)])
    assert modality.create(generate_uid(), study).Status == 0x0106
    uid = generate_uid()
    modality.create(uid)
    named = series()
    named.ReferencedImageSequence[0].ReferencedSOPInstanceUID = hostile
    assert modality.set(uid, ending("COMPLETED", named)).Status == 0x0106
    assert [name for name in receiver.bus.records if "mpps" in name] == [f"$KV.{subjects.HELD}.{subjects.step(uid)}"]


def test_steps_are_not_taken_where_the_entry_of_the_source_says_no(receiver):
    receiver.sources = Sources(sources=(Source(slug="ct", name="CT", calling_aet="CT01", mpps=False),))
    assert not Modality(receiver.port).accepts
    other = Modality(receiver.port, aet="MR01")
    assert other.accepts
    other.close()


def test_a_receiver_that_takes_no_steps_takes_images_as_ever(make_receiver):
    running = make_receiver(mpps=False)
    assert not Modality(running.port).accepts
    ae = AE(ae_title="CT01")
    association = ae.associate(
        "127.0.0.1", running.port, [build_context(MPPS, EXPLICIT_LITTLE), build_context(CTImageStorage)]
    )
    assert [context.abstract_syntax for context in association.accepted_contexts] == [CTImageStorage]
    association.release()


def test_while_the_bus_is_away_nothing_is_claimed_and_the_same_request_is_taken_later(receiver, modality):
    uid = generate_uid()
    receiver.bus.away = True
    assert modality.create(uid).Status == 0x0213
    receiver.bus.away = False
    assert modality.create(uid).Status == 0
    assert len(receiver.bus.of(events.MppsCreated)) == 1


def test_a_step_that_is_recorded_but_not_published_is_published_by_whoever_comes_next(receiver, modality, monkeypatch):
    uid, publish = generate_uid(), receiver.bus.publish
    refusing: list[str] = ["once"]

    async def failing(event, event_id=None, time=None):
        if refusing and isinstance(event, events.MppsCreated | events.MppsSet):
            raise BusUnavailableError("away")
        return await publish(event, event_id, time)

    monkeypatch.setattr(receiver.bus, "publish", failing)
    assert modality.create(uid).Status == 0x0213
    refusing.clear()
    assert modality.create(uid).Status == 0  # the same words: they had not been answered
    assert modality.create(uid).Status == 0x0111
    refusing.append("again")
    end = ending("COMPLETED", series())
    assert modality.set(uid, end).Status == 0x0213
    refusing.clear()
    assert modality.set(uid, ending("DISCONTINUED")).Status == 0x0110  # other words: the first stand, and are said
    assert [event.status for event in receiver.bus.of(events.MppsSet)] == ["COMPLETED"]


def test_two_that_end_a_step_at_once_end_it_once(receiver):
    uid = generate_uid()
    speakers = [Modality(receiver.port) for _ in range(4)]
    speakers[0].create(uid)
    with ThreadPoolExecutor(4) as pool:
        ends = [ending("COMPLETED", series(images=n + 1)) for n in range(4)]
        answers = list(pool.map(lambda pair: pair[0].set(uid, pair[1]).Status, zip(speakers, ends, strict=True)))
    assert sorted(answers) == [0, 0x0110, 0x0110, 0x0110]
    [said] = receiver.bus.of(events.MppsSet)
    assert said.series[0].images == answers.index(0) + 1
    for speaker in speakers:
        speaker.close()


def test_a_request_whose_step_somebody_else_says_meanwhile_is_answered_with_success(receiver, modality, monkeypatch):
    uid, publish = generate_uid(), receiver.bus.publish

    async def overtaken(*arguments, **more):
        sequence = await publish(*arguments, **more)
        record, revision = await receiver.bus.load(subjects.HELD, subjects.step(uid), StepRecord)
        said = record.model_copy(update={"said": True})
        await receiver.bus.update(subjects.HELD, subjects.step(uid), said, revision)
        return sequence

    monkeypatch.setattr(receiver.bus, "publish", overtaken)
    assert modality.create(uid).Status == 0
    assert modality.set(uid, ending("COMPLETED", series())).Status == 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE]))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_bytes_are_a_change_or_a_fault(data: bytes, syntax: str) -> None:
    for parse in (data_sets.parse_create, data_sets.parse_set):
        with contextlib.suppress(data_sets.InvalidStep):  # and nothing else is raised
            assert isinstance(parse(data, syntax), data_sets.StepChange)


def test_sequences_in_sequences_without_end_are_a_fault() -> None:
    nested = b"".join(b"\x40\x00\x70\x02\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(3000))
    with pytest.raises(data_sets.InvalidStep, match="unreadable"):
        data_sets.parse_create(nested, IMPLICIT_LITTLE)


# -- on a real bus

CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from pydantic import SecretStr
    from hermes_common.runtime.bus import Bus
    from hermes_common.runtime.objectstore.directory import DirectoryStore
    from hermes_common.runtime.settings import RuntimeSettings
    from hermes_common.sources import Admission
    from hermes_receiver.app import build
    from hermes_receiver.settings import Settings

    async def main(root, url):
        bus = Bus(RuntimeSettings(nats_url=SecretStr(url)), "receiver@test")
        bus.start()
        await bus.ready()
        settings = Settings(spool=root / "spool", dicom_host="127.0.0.1", dicom_port=0, spool_min_free_bytes=0)
        receiver = build(settings, DirectoryStore(root / "objects"), bus, lambda _: Admission())
        receiver.listener.start()
        print(receiver.listener.port, flush=True)
        await receiver.announcer.run()

    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
    """
)


class Process:
    """A receiver as a process of its own, on the bus."""

    def __init__(self, folder: Path, url: str, point: str = "") -> None:
        environment = os.environ | ({"HERMES_CRASH_POINT": point} if point else {})
        command = [sys.executable, "-c", CHILD, str(folder), url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def died(self) -> bool:
        return self.process.wait(20) == -signal.SIGKILL

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def on_bus(url: str, uid: str) -> tuple[list[events.Event], StepRecord]:
    """Return what was published of a study, each id once, and the record of a step."""

    async def read() -> tuple[list[events.Event], StepRecord]:
        bus = Bus(RuntimeSettings(nats_url=SecretStr(url)), "test")
        bus.start()
        await bus.ready()
        found = {
            message.headers["ce-id"]: events.decode(message.headers, message.data).event
            async for message in bus.read(subjects.EVENTS, subjects.steps_of(STUDY), 0)
        }
        loaded = await bus.load(subjects.HELD, subjects.step(uid), StepRecord)
        await bus.close()
        assert loaded is not None
        return list(found.values()), loaded[0]

    return asyncio.run(read())


@pytest.mark.servers
@pytest.mark.parametrize("point", ["mpps.recorded", "mpps.said"])
def test_a_receiver_that_is_killed_over_a_step_leaves_one_that_can_be_gone_on_with(nats_url, tmp_path, point):
    uid = generate_uid()
    first = Process(tmp_path, nats_url, point)
    modality = Modality(first.port)
    assert "Status" not in modality.create(uid)  # it has not been answered
    assert first.died()
    first.stop()
    second = Process(tmp_path, nats_url)
    modality = Modality(second.port)
    again = modality.create(uid).Status
    assert again == (0 if point == "mpps.recorded" else 0x0111)
    assert modality.set(uid, ending("COMPLETED", series())).Status == 0
    modality.close()
    second.stop()
    said, record = on_bus(nats_url, uid)
    assert [(event.type(), event.status) for event in said] == [
        ("hermes.v1.mpps.created", "IN PROGRESS"), ("hermes.v1.mpps.set", "COMPLETED"),
    ]  # fmt: skip
    assert (record.status, record.said, record.series[0].images) == ("COMPLETED", True, 3)
