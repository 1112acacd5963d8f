"""Time of a backtest over 100,000 series of about 60 tags in a real PostgreSQL, through the functions of the API.

    python bench/backtest/bench_backtest.py [--series 100000] [--rules 20] [--runs 3]

Starts a PostgreSQL of its own, fills the table of series with COPY, and compares a draft that changes one rule and adds
one with an active set of the given size. Reported is the time from the request to the last message, processes started
for it included. ``--unique`` lets the rules also ask for something that differs in every series, so that nothing that
was found of one helps with the next.
"""

import argparse
import asyncio
import io
import json
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg2
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from hermes_common import ledger
from hermes_common.config import Kind, Revision, RuleSet
from hermes_local.servers.testing import postgres_server
from hermes_web.adapters.database import Database
from hermes_web.adapters.replays import Replays
from hermes_web.features.rules.backtesting import prepare
from hermes_web.web import Web

NOW = datetime.now(UTC)
PARTS = ("BRAIN", "CHEST", "ABDOMEN", "KNEE", "SPINE", "HEART", "PELVIS", "HAND")
MODALITIES = ("MR", "CT", "US", "DX", "MG", "PT", "NM", "XA", "CR", "OT")
MAKERS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "Canon")
SEQUENCES = ("t1_mprage", "t2_tse_tra", "flair_sag", "dwi_ep2d", "localizer", "t1_vibe_gd", "thorax 1.0", "lung 5.0")


def tags(rng: random.Random, number: int) -> dict[str, list[str]]:
    """Return the tags of one series, much as scanners fill them in."""
    part, modality, maker = rng.choice(PARTS), rng.choice(MODALITIES), rng.choice(MAKERS)
    day = (NOW - timedelta(minutes=number % 40_000)).strftime("%Y%m%d")
    uid = f"1.2.826.0.1.3680043.2.1125.{number // 5}"
    found = {
        "SpecificCharacterSet": "ISO_IR 100", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": modality,
        "StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.{number}", "StudyDate": day, "SeriesDate": day,
        "AcquisitionDate": day, "ContentDate": day, "StudyTime": f"{number % 24:02}1500.123", "SeriesTime": "101500",
        "AcquisitionTime": "101501", "ContentTime": "101502", "AccessionNumber": f"A{number // 5:08}",
        "Manufacturer": maker, "ManufacturerModelName": f"Model {number % 12}", "StationName": f"ST{number % 30:02}",
        "InstitutionName": "Hospital of the town", "InstitutionalDepartmentName": "Radiology",
        "ReferringPhysicianName": f"DOE^{number % 400}", "StudyDescription": f"{modality} {part} W CONTRAST",
        "SeriesDescription": rng.choice(SEQUENCES), "ProtocolName": f"{part}_{number % 40}",
        "PatientName": f"PHANTOM^{number // 8}", "PatientID": f"P{number // 8:07}", "PatientBirthDate": "19700101",
        "PatientSex": "F" if number % 2 else "M", "PatientAge": f"{number % 95:03}Y", "PatientWeight": "70",
        "PatientSize": "1.75", "BodyPartExamined": part, "SliceThickness": rng.choice(("0.8", "1.0", "3.0", "5.0")),
        "KVP": "120", "RepetitionTime": "2200", "EchoTime": "2.5", "InversionTime": "900", "FlipAngle": "8",
        "MagneticFieldStrength": rng.choice(("1.5", "3")), "SpacingBetweenSlices": "1", "DeviceSerialNumber": "12345",
        "SoftwareVersions": "syngo MR E11", "PatientPosition": "HFS", "StudyID": str(number // 5),
        "SeriesNumber": str(number % 15), "AcquisitionNumber": "1", "FrameOfReferenceUID": f"{uid}.9",
        "SamplesPerPixel": "1", "PhotometricInterpretation": "MONOCHROME2", "Rows": "512", "Columns": "512",
        "BitsAllocated": "16", "BurnedInAnnotation": "NO", "LossyImageCompression": "00",
        "RequestedProcedureDescription": f"{modality} {part}", "PerformedProcedureStepDescription": f"{part} routine",
        "PerformedProcedureStepID": f"PPS{number}", "RequestedProcedureID": f"RP{number // 5}",
    }  # fmt: skip
    several = {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "PixelSpacing": ["0.5", "0.5"],
        "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": ["SK", "SP", "MP"],
        "ProcedureCodeSequence.CodeValue": [f"IMG{number % 200}"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    }
    if number % 3 == 0:
        several["ContrastBolusAgent"] = ["Gadovist"]
    return {**{name: [value] for name, value in found.items()}, **several}


def fill(url: str, count: int) -> float:
    """Fill the history; return the mean number of tags."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA ledger"))
        ledger.metadata.create_all(connection)
    engine.dispose()
    rng, total, buffer = random.Random(7), 0, io.StringIO()
    for number in range(count):
        of = tags(rng, number)
        total += len(of)
        at = (NOW - timedelta(minutes=5 + number % 40_000)).isoformat()
        encoded = json.dumps(of).replace("\\", "\\\\")
        row = (
            *(of["SeriesInstanceUID"][0], of["StudyInstanceUID"][0], "delivered", str(20 + number % 300), "1575000"),
            *(f"ST{number % 30:02}", "HERMES", f"10.0.0.{number % 30}", of["Modality"][0], encoded, at, at, at, "1"),
        )
        buffer.write("\t".join(row) + "\n")
    buffer.seek(0)
    columns = "series_uid, study_uid, state, instances, octets, calling_aet, called_aet, address, modality, tags"
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.copy_expert(
            f"COPY ledger.series ({columns}, first_received_at, last_received_at, decided_at, last_seq) FROM STDIN",
            buffer,
        )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE ledger.series")
    connection.close()
    return total / count


def rule_set(count: int, unique: bool, first: str = "") -> RuleSet:
    """Return rules of seven clauses; ``first`` replaces a clause of the first one."""
    rules = []
    for number in range(count):
        modality, part = MODALITIES[number % 10], PARTS[number % 8]
        last = (
            f'series.bytes > {number} and SeriesInstanceUID ends with "{number % 10}"'
            if unique
            else "SeriesNumber < 12"
        )
        expression = (
            f'Modality == "{modality}" and StudyDescription contains "{part.lower()}" '
            f'and SliceThickness <= 1.5 and Manufacturer in ["SIEMENS", "GE MEDICAL SYSTEMS"] '
            f'and SeriesDescription matches /^t[12].*/i and not BodyPartExamined == "ABDOMEN" and {last}'
        )
        if number == 0 and first:
            expression = expression.replace("SliceThickness <= 1.5", first)
        rules.append({"slug": f"r{number}", "name": f"Rule {number}", "expression": expression, "targets": ["pacs"]})
    return RuleSet.model_validate({"rules": rules})


@dataclass
class Service:
    """What the backtest needs of the web service: database, processes, active rules."""

    database: Database
    replays: Replays
    active: RuleSet
    kind: Kind = Kind.RULES
    answers: list[float] = field(default_factory=list)

    async def rules(self) -> tuple[Revision, RuleSet]:
        """Return the active rules."""
        document: dict[str, Any] = self.active.model_dump(mode="json")
        return Revision(kind=self.kind, revision=1, author="bench", time=NOW, document=document), self.active


async def run(url: str, count: int, active: RuleSet, draft: RuleSet, runs: int) -> tuple[list[float], dict[str, Any]]:
    """Return the seconds of each run and the last result."""
    database = Database(url, 4, 60)
    database.is_ready = True
    service = cast(Web, Service(database, Replays(url), active))
    seconds, result = [], {}
    for _ in range(runs):
        began = time.perf_counter()
        result = await (await prepare(service, draft, 30)).result()
        seconds.append(time.perf_counter() - began)
        if result["series"] != count:
            raise SystemExit(f"{result['series']} of {count} series were looked at: {str(result)[:500]}")
    database.close()
    return seconds, result


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--series", type=int, default=100_000)
    options.add_argument("--rules", type=int, default=20)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--unique", action="store_true")
    given = options.parse_args()
    active = rule_set(given.rules, given.unique)
    changed = rule_set(given.rules, given.unique, "SliceThickness <= 3")
    added = {"slug": "added", "name": "Added", "expression": 'Modality == "MR" and ContrastBolusAgent is present'}
    rules = [*changed.model_dump(mode="json")["rules"], {**added, "targets": ["ai"]}]
    draft = RuleSet.model_validate({"rules": rules})
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as postgres:
        mean = fill(postgres.url, given.series)
        seconds, result = asyncio.run(run(postgres.url, given.series, active, draft, given.runs))
    listed = ", ".join(f"{each:.2f}" for each in seconds)
    best, middle = min(seconds), statistics.median(seconds)
    print(f"{given.series:,} series of {mean:.0f} tags, {given.rules} active rules, {given.rules + 1} drafted")
    print(f"{listed} s: median {middle:.2f}, best {best:.2f}; {given.series / middle:,.0f} series/s")
    first, last = result["rules"][0], result["rules"][-1]
    print(
        f"{first['slug']}: {first['matched']} matched, +{first['gained']} -{first['lost']}, {first['near_misses']} near"
    )
    print(f"{last['slug']}: {last['matched']} matched, +{last['gained']} -{last['lost']}")


if __name__ == "__main__":
    main()
