"""Spans of time in the configuration: what no service could work with is refused when it is saved."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from hermes_common.config import DicomTarget, Policies, Targets
from hermes_common.durations import LONGEST, parse_duration


def test_a_retention_whose_end_no_calendar_has_is_refused_with_its_field() -> None:
    with pytest.raises(ValidationError) as refused:
        Policies.model_validate({"retention": {"unmatched": "99999999d"}})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("retention", "unmatched")
    assert "at most 36500d" in problem["msg"]


def test_the_longest_span_still_ends_on_a_date() -> None:
    assert parse_duration("36500d") == LONGEST
    assert datetime(2100, 1, 1, tzinfo=UTC) + LONGEST < datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("field", ["connect_timeout", "response_timeout"])
@pytest.mark.parametrize("limit", ["0s", "25d"])
def test_a_target_has_a_time_limit_that_a_socket_can_have(field: str, limit: str) -> None:
    target = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "pacs", "port": 104, "called_aet": "PACS"}
    with pytest.raises(ValidationError, match="more than 0 and at most 1d"):
        Targets.model_validate({"targets": [target | {field: limit}]})
    usable = DicomTarget.model_validate(target | {field: "90s"})
    assert getattr(usable, field) == timedelta(seconds=90)
