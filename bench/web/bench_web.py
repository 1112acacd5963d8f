"""How long the server takes for a page and for a list of the API, with a history of many series.

    .venv/bin/python bench/web/bench_web.py [--series 100000] [--rules 1000] [--requests 100]

A real PostgreSQL and NATS on this machine, the application in this process without a network between: what is measured
is the guard, the queries, the templates. Each page is asked for in turn with the others, by a signed-in administrator.
The history is that of ``bench/books/history.py``: ten instances a series, over a year.
"""

import argparse
import asyncio
import contextlib
import gzip
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from hermes_common.config import Kind
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.runtime.service import set_aside
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server, postgres_server
from hermes_web.app import build, make_web, seed_administrator
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings
from hermes_web.web import Web

sys.path.insert(0, str(Path(__file__).parents[1] / "books"))
import history  # a file beside this one

PASSWORD = "mossy lantern 47 orbit"  # noqa: S105 - of an account that ends with the run
TOKEN = "token-of-an-account-that-ends-with-the-run"  # noqa: S105
ORIGIN = "https://hermes.test"
UID = history.UID


def pages(series: int) -> dict[str, str]:
    """Return what is asked for, with a history of so many series."""
    one, old = series - 503, series // 3 // 8 * 8 + 5
    queries = {
        "newest": "",
        "a qualifier": "modality:MR source:MR05",
        "a rare modality": "modality:OT",
        "a source that is nowhere": "source:NOBODY",
        "unmatched": "status:unmatched",
        "failed": "status:failed",
        "a patient": f"patient:P{old // 8:07}",
        "a patient's name": f'patient:"FAMILY{old // 8 % 7000}^GIVEN{old // 8 % 300}"',
        "a family name": f"patient:FAMILY{old // 8 % 7000}",
        "a patient that is nowhere": "patient:NOBODY",
        "an accession": f"accession:A{old // 4}",
        "a study's text": "study:knee",
        "a common word": "brain",
        "two words": "knee flair",
        "two seldom words": "station17 flair",
        "a word that all have": "protocol_77 scout",
        "the beginning of a word": "abdo",
        "a word that is nowhere": "nowhere",
        "a UID": f"{UID}{old}",
        "at a target": "target:archive",
        "at a seldom target": "target:seldom",
        "at a target that is nowhere": "target:nowhere",
        "by a rule": "rule:rule-77",
        "by a rule that is nowhere": "rule:nowhere",
        "by a rule, failed": "rule:rule-501 status:failed",
        "received within an hour": "received:1h modality:CT",
    }
    delivery = f"d{one}pacs"
    found = {"overview": "/"}
    found |= {f"series: {name}": "/series?" + urlencode({"q": query}) for name, query in queries.items()}
    found |= {
        "one series": f"/series/{UID}{one}",
        "one series, a year old": f"/series/{UID}100",
        "one study": f"/studies/{history.STUDY}{one // 4}",
        "deliveries": "/deliveries",
        "deliveries: failed": "/deliveries?state=failed",
        "deliveries: of a target": "/deliveries?target=seldom",
        "deliveries: of a target, failed": "/deliveries?target=archive&state=failed",
        "deliveries: of a target that is nowhere": "/deliveries?target=nowhere",
        "one delivery": f"/deliveries/{delivery}",
        "errors": "/errors",
        "queues": "/queues",
        "flow, 24 h": "/flow",
        "alerts": "/alerts",
        "audit": "/audit",
        "audit: of a person": "/audit?actor=user3",
        "quarantine": "/quarantine",
        "associations": "/associations",
        "associations: rejected": "/associations?state=rejected",
        "sources": "/sources",
        "targets": "/targets",
        "policies": "/policies",
        "rules": "/rules",
        "one rule": "/rules/rule-77",
        "palette": "/palette",
    }
    api = {
        "series": "/series?limit=200",
        "series: two words": "/series?limit=200&q=knee+flair",
        "one series": f"/series/{UID}{one}",
        "instances": f"/series/{UID}{one}/instances",
        "timeline": f"/series/{UID}{one}/timeline",
        "study": f"/studies/{history.STUDY}{one // 4}",
        "deliveries": "/deliveries?limit=200",
        "deliveries: failed": "/deliveries?limit=200&state=failed",
        "one delivery": f"/deliveries/{delivery}",
        "alerts": "/alerts",
        "audit": "/audit",
        "quarantine": "/quarantine",
        "associations": "/associations",
        "senders seen": "/sources/seen",
        "status": "/status",
        "rules": "/rules",
        "targets": "/targets",
    }
    return found | {f"API: {name}": f"/api/v1{path}" for name, path in api.items()}


async def configure(web: Web, rules: int) -> None:
    """Save two targets and so many rules."""
    targets = [{"slug": slug, "name": slug, "kind": "folder", "path": "/var/tmp"} for slug in ("pacs", "archive")]
    await web.save(Kind.TARGETS, {"targets": targets}, 0, "bench", "")
    made = [
        {
            "slug": f"rule-{n}",
            "name": f"Rule {n}",
            "expression": f'Modality == "MR" and SeriesDescription contains "t1 {n}" and SliceThickness <= 1.5',
            "targets": ["pacs", "archive"],
        }
        for n in range(rules)
    ]
    await web.save(Kind.RULES, {"rules": made}, 0, "bench", "")


async def measure(
    url: str, nats_url: str, requests: int, asked: dict[str, str], rules: int
) -> dict[str, tuple[list[float], bytes]]:
    """Return milliseconds of each request, and the last answer, of every page."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 10)
    secrets = {"admin_password": SecretStr(PASSWORD), "admin_token": SecretStr(TOKEN)}
    web = make_web(Settings(database_url=SecretStr(url), **secrets), "0", bus, Health())
    await web.database.prepare()
    await seed_administrator(web)
    await configure(web, rules)
    app: Any = Shell(build(web))
    set_aside()  # as a service does when it is put together
    found: dict[str, tuple[list[float], bytes]] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        form = {"name": "admin", "password": PASSWORD}
        assert (await client.post("/sign-in", data=form, headers=headers)).status_code == 303
        program = {"authorization": f"Bearer {TOKEN}"}
        for turn in range(requests + 3):
            for name, path in asked.items():
                start = time.perf_counter()
                answer = await client.get(path, headers=program if path.startswith("/api/") else None)
                took = (time.perf_counter() - start) * 1000
                assert answer.status_code == 200, (path, answer.text[:500])
                times, _ = found.get(name, ([], b""))
                found[name] = (times + [took] * (turn >= 3), answer.content)
    await asyncio.to_thread(web.database.close)
    await asyncio.to_thread(web.hasher.close)
    await bus.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--database", help="URL of a database that was filled before")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hermes-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with contextlib.ExitStack() as stack:
            bus = stack.enter_context(nats_server(folder / "nats"))
            url = asked.database
            if url is None:
                url = stack.enter_context(postgres_server(folder / "postgres")).url
                history.fill(SecretStr(url), asked.series)
            measured = measure(url, bus.url(), asked.requests, pages(asked.series), asked.rules)
            found = asyncio.run(measured)
    print(f"{asked.series} series, {asked.series * history.PER_SERIES} instances, {asked.rules} rules;", end=" ")
    print(f"{asked.requests} requests of each page; milliseconds at the server")
    print(f"{'page':44} {'median':>8} {'p95':>8} {'max':>8} {'rows':>6} {'KB gz':>7}")
    for name, (times, body) in found.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        rows = len(re.findall(rb"<tr>", body))
        size = len(gzip.compress(body)) / 1000
        print(f"{name:44} {statistics.median(times):8.1f} {p95:8.1f} {max(times):8.1f} {rows:6} {size:7.1f}")


if __name__ == "__main__":
    main()
