"""The targets, rules and the quiet period of the demo, through the API; again, only what must change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hermes_cli.api import Api
from hermes_cli.errors import ChangedMeanwhileError
from hermes_common.config import (
    AnyTarget,
    Completion,
    DicomTarget,
    FolderTarget,
    Policies,
    Rule,
    RuleSet,
    Targets,
)
from hermes_common.durations import format_duration, parse_duration

ARCHIVE, FOLDER, DOWN = "demo-archive", "demo-folder", "demo-down"
ARCHIVE_AET = "DEMO_ARCHIVE"
QUIET = parse_duration("2s")
COMMENT = "hermes up --demo"
_TRIES = 5

RULES = (
    Rule(
        slug="demo-offline",
        name="Demo: second opinions go to a target that is down",
        expression='StudyDescription contains "second opinion"',
        targets=(DOWN,),
        then="stop",
    ),
    Rule(
        slug="demo-tomography",
        name="Demo: CT and MR go to the archive and into the folder",
        expression='Modality in ["CT", "MR"]',
        targets=(ARCHIVE, FOLDER),
    ),
    Rule(
        slug="demo-ultrasound",
        name="Demo: ultrasound from the demo's scanner goes to the archive",
        expression='Modality == "US" and source.aet starts with "DEMO"',
        targets=(ARCHIVE,),
    ),
)


def targets(archive_port: int, down_port: int, folder: Path) -> tuple[AnyTarget, ...]:
    """Return the three targets; deliveries to the one that is down wait for it."""
    local = {"host": "127.0.0.1", "comment": "Made by `hermes up --demo`"}
    return (
        DicomTarget(slug=ARCHIVE, name="Demo archive", port=archive_port, called_aet=ARCHIVE_AET, **local),
        FolderTarget(slug=FOLDER, name="Demo folder", path=str(folder), comment=local["comment"]),
        DicomTarget(
            slug=DOWN,
            name="Demo target that is down",
            port=down_port,
            called_aet="NOBODY",
            connect_timeout=QUIET,
            **local,
        ),
    )


def known_port(api: Api, slug: str) -> int | None:
    """Return the port that a target of an earlier demo has."""
    found = Targets.model_validate(api.document("targets").document).get(slug)
    return found.port if isinstance(found, DicomTarget) else None


def put_targets(api: Api, wanted: tuple[AnyTarget, ...]) -> str:
    """Add or correct the targets; return what was done, in words."""

    def change(document: dict[str, Any]) -> dict[str, Any]:
        present = Targets.model_validate(document)
        mine = {target.slug: target for target in wanted}
        kept = [mine.pop(target.slug, target) for target in present.targets]
        return Targets(targets=(*kept, *mine.values())).model_dump(mode="json")

    return _edit(api, "targets", change, f"{len(wanted)} targets ({', '.join(target.slug for target in wanted)})")


def put_rules(api: Api) -> str:
    """Add the rules that are missing; those that are there are left, because a person may have changed them."""

    def change(document: dict[str, Any]) -> dict[str, Any]:
        present = RuleSet.model_validate(document)
        slugs = {rule.slug for rule in present.rules}
        missing = [rule for rule in RULES if rule.slug not in slugs]
        return RuleSet(rules=(*present.rules, *missing)).model_dump(mode="json")

    return _edit(api, "rules", change, f"{len(RULES)} rules ({', '.join(rule.slug for rule in RULES)})")


def put_quiet_period(api: Api) -> str:
    """Shorten the quiet period if nobody has ever set the policies; return what was done, in words."""
    stored = api.document("policies")
    policies = Policies.model_validate(stored.document)
    if policies != Policies():
        present = format_duration(policies.completion.quiet_period)
        return f"the quiet period stays {present}: the policies are not the default"
    shorter = Policies(completion=Completion(quiet_period=QUIET), retention=policies.retention)
    api.save("policies", shorter.model_dump(mode="json"), stored.etag, COMMENT)
    before = format_duration(policies.completion.quiet_period)
    return f"the quiet period is {format_duration(QUIET)} instead of {before}; set it back on the page Policies"


def _edit(api: Api, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], what: str) -> str:
    """Save a changed document unless nothing changed; begin again when somebody else saved in between."""
    for last in [False] * (_TRIES - 1) + [True]:
        stored = api.document(kind)
        changed = change(stored.document)
        if changed == _complete(kind, stored.document):
            return f"{what}: there already"
        try:
            saved = api.save(kind, changed, stored.etag, COMMENT)
        except ChangedMeanwhileError:
            if last:
                raise
            continue
        return f"{what}: revision {saved.revision} of the {kind}"
    raise AssertionError("the last round returns or raises")


def _complete(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    model: type[Targets] | type[RuleSet] = Targets if kind == "targets" else RuleSet
    return model.model_validate(document).model_dump(mode="json")
