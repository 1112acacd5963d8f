"""Dry runs, rules that fail, and the tools on rules, through the whole router."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from harness import Hermes, make_series, rule, until

from hermes_common import subjects
from hermes_common.config import Kind, Revision
from hermes_common.runtime.clock import now

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def hermes_command(hermes: Hermes, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "hermes_cli", *(str(argument) for argument in arguments)],
        env={**os.environ, **hermes.variables, "HERMES_HOME": str(hermes.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def save_unchecked(hermes: Hermes, rules: list[dict[str, Any]]) -> int:
    """Put rules into the bucket that no save would let in, as an older release might have left them there."""
    with hermes.api() as api:
        number = (api.document("rules").revision or 0) + 1
    document = {"rules": [{**each, "name": each["slug"]} for each in rules]}
    revision = Revision(kind=Kind.RULES, revision=number, author="test", time=now(), document=document)

    async def put() -> None:
        connection = await nats.connect(hermes.variables["HERMES_NATS_URL"])
        bucket = await connection.jetstream().key_value(subjects.CONFIG)
        await bucket.put("rules", revision.model_dump_json().encode())
        await connection.close()

    asyncio.run(put())
    return number


def test_a_dry_run_sends_nothing_a_rule_that_fails_is_told_and_both_are_on_the_series(
    hermes: Hermes, tmp_path: Path
) -> None:
    folder = {"kind": "folder", "slug": "files", "name": "files", "path": str(tmp_path / "files")}
    (tmp_path / "files").mkdir()
    dry = rule("dry", 'Modality == "CT"', "files", state="dry_run")
    hermes.configure([folder], [dry])
    number = save_unchecked(hermes, [dry, rule("broken", "Modality ==", "files")])
    until("the revision is applied", lambda: _revision(hermes) == number, 5)
    series = make_series(tmp_path / "series", 2)
    assert hermes_command(hermes, "send", series.folder).returncode == 0
    history = until("unmatched", lambda: hermes.reached(series.uid, "unmatched"))
    [decision] = history["decisions"]
    assert decision["revision"] == number
    assert [(each["slug"], each["status"]) for each in decision["rules"]] == [
        ("dry", "would_fire"),
        ("broken", "failed"),
    ]
    assert (decision["deliveries"], history["deliveries"]) == ([], [])
    assert list((tmp_path / "files").iterdir()) == []
    assert "rule broken failed" in history["problems"][0]
    alert = until("the alert", lambda: _alert(hermes, f"broken/{number}"))
    assert alert["cleared_at"] is None
    tested = hermes_command(hermes, "rules", "test", "--series", series.uid)
    assert (tested.returncode, "failed  broken" in tested.stdout) == (1, True)
    assert "dry run dry would fire" in tested.stdout
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps({"rules": [rule("dry", 'Modality == "CT"', "files", name="Dry")]}))
    done = hermes_command(hermes, "rules", "backtest", draft, "--activate", "dry", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    found = {each["slug"]: each for each in result["rules"]}
    assert (found["dry"]["change"], found["dry"]["errors"], found["broken"]["change"]) == ("changed", 0, "removed")
    assert series.uid in [each["series_uid"] for each in found["dry"]["samples"]["matched"]]
    assert series.uid in [each["series_uid"] for each in result["changed"]["samples"]]
    hermes.save("rules", {"rules": []})
    until("the alert is cleared", lambda: (_alert(hermes, f"broken/{number}") or {}).get("cleared_at"))


def _revision(hermes: Hermes) -> int | None:
    with hermes.api() as api:
        return api.document("rules").revision


def _alert(hermes: Hermes, about: str) -> dict[str, Any] | None:
    with hermes.api() as api:
        items, _ = api.pages("/alerts", 100)
    return next((item for item in items if item["kind"] == "rule_failed" and item["about"] == about), None)
