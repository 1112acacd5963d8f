"""The API against its own description: requests that schemathesis makes of the OpenAPI document, fitting and not.

The service is a process of its own on real servers. ``HERMES_API_EXAMPLES`` is the number of requests for each
operation and way of making them; ``just api-properties`` asks for more than the few of every run.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import SAMPLES
from .test_process import TOKEN, running, wait

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600 if "HERMES_API_EXAMPLES" in os.environ else 300)]

EXAMPLES = int(os.environ.get("HERMES_API_EXAMPLES", "4"))
CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
ELSEWHERE = "/dicom-web/"
"""Answered by the receiver, which has tests of its own."""
KNOWN = {"uid": SAMPLES["SERIES"], "delivery_id": SAMPLES["DELIVERY"], "number": 0, "reception_id": f"{1:032x}"}
"""What fits stands in the address of fitting requests, so that there is something to be found and done."""
ENDING = ("/tokens/{token_id}", "/users/{name}")
"""What may take the caller's own token away comes last, for its method other than GET."""


@dataclass(frozen=True)
class Service:
    url: str
    description: dict[str, Any]
    tokens: dict[str, str]


@pytest.fixture
def service(nats_url: str, database_url: str, make_ledger: Any) -> Iterator[Service]:
    make_ledger()
    with running(nats_url, database_url) as (url, _):
        wait(f"{url}/readyz", 200)
        with httpx.Client(base_url=f"{url}/api/v1", headers={"authorization": f"Bearer {TOKEN}"}) as api:
            made = api.post("/tokens", json={"name": "looks", "role": "viewer"})
            assert made.status_code == 201, made.text
            description = api.get("/openapi.json").json()
        yield Service(url, description, {"admin": TOKEN, "viewer": made.json()["token"], "nobody": ""})


def last(operation: Any) -> tuple[bool, str, str]:
    ends = operation.path.endswith(ENDING) and operation.method.upper() != "GET"
    return ends, operation.path, operation.method


def test_every_answer_is_one_that_the_description_of_the_api_has(service: Service) -> None:
    schema = schemathesis.openapi.from_dict({**service.description, "security": []})  # who asks is said below
    operations = [found.ok() for found in schema.get_all_operations()]
    wrong: dict[str, str] = {}
    statuses: Counter[tuple[str, int]] = Counter()
    for operation in sorted(operations, key=last):
        if operation.path.startswith(ELSEWHERE):
            continue
        for who, mode, count in (
            ("nobody", GenerationMode.POSITIVE, 1),
            ("viewer", GenerationMode.POSITIVE, max(1, EXAMPLES // 2)),
            ("admin", GenerationMode.NEGATIVE, EXAMPLES),
            ("admin", GenerationMode.POSITIVE, EXAMPLES),
        ):
            try:
                ask(service, operation, who, mode, count, statuses)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # every operation is asked; what was found is in the assertion
                wrong.setdefault(f"{operation.method.upper()} {operation.path}", f"{who}, {mode}: {error}"[:1500])
    assert not wrong, "\n\n".join(f"{operation}\n{words}" for operation, words in wrong.items())
    assert {status for who, status in statuses if who == "nobody"} == {401}
    assert {200, 202, 400, 404, 422} <= {status for who, status in statuses if who == "admin"}
    assert statuses["admin", 401] < 5 * EXAMPLES, "the token was taken away before the end"
    assert statuses["viewer", 403] > 20


def ask(service: Service, operation: Any, who: str, mode: Any, count: int, statuses: Counter[tuple[str, int]]) -> None:
    @seed(20261125)
    @settings(
        max_examples=count,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and case.path_parameters:
            case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters if name in KNOWN})
        token = service.tokens[who]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = case.call(base_url=service.url, headers=headers, timeout=60)
        statuses[who, answer.status_code] += 1
        assert answer.status_code != 500, f"500 to {case.as_curl_command()}"
        if answer.status_code >= 400:
            document = answer.json()
            assert document["status"] == answer.status_code
            assert document["detail"]
            assert document["action"]
        case.validate_response(answer, checks=CHECKS)

    try:
        asked()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing of it can be wrong: it takes nothing, or any text
