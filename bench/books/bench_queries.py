"""How long PostgreSQL takes for every query of every page and of the API, on a long history.

    .venv/bin/python bench/books/bench_queries.py FOLDER [--requests 40] [--json FILE]

FOLDER was filled by ``kept.py``. The web application runs in this process, as in ``bench/web``; the time of a query is
that between handing the statement to the driver and having its first rows, of a page the sum over its queries.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from bench_books import machine  # a file beside this one
from history import STUDY, connected  # a file beside this one
from kept import kept_postgres  # a file beside this one
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server
from hermes_web.app import build, make_web, seed_administrator
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from bench_web import ORIGIN, PASSWORD, TOKEN, configure, pages

WARM = 3
"""Requests of each page before those that count."""
WANTED = 50.0
"""Milliseconds."""

BULK_ID = "0195d3a0-0000-7000-8000-0000000000b1"


def asked_for(series: int) -> dict[str, str]:
    """Return every page and list: those of ``bench/web``, and what it leaves out."""
    more = {
        "one target": "/targets/pacs",
        "system": "/system",
        "storage": "/storage",
        "users": "/users",
        "first steps": "/start",
        "alerts: open": "/alerts?state=open",
        "alerts: conditions": "/alerts/conditions",
        "alerts: channels": "/alerts/channels",
        "rules: counts": "/rules/_counts",
        "series: later page": "/series?cursor=LATER",
        "errors: of a target": "/errors?target=archive",
        "errors: progress": f"/errors/progress?id={BULK_ID}&target=archive&actor=admin&since=2026-01-01T00:00:00Z",
        "API: system": "/api/v1/system",
        "API: export": "/api/v1/series/export?q=received:1d+status:failed",
        "API: alerts, open": "/api/v1/alerts?state=open",
        "quarantine, a day": "/quarantine?within=1d",
        "API: targets' states": "/api/v1/targets/states",
        "API: channels": "/api/v1/alerts/channels",
        "audit: of deliveries": "/audit?about=delivery",
        "API: associations of an AE title": "/api/v1/associations?calling_aet=MR17",
        "API: associations, aborted": "/api/v1/associations?state=aborted",
        "API: study, old": f"/api/v1/studies/{STUDY}25",
    }
    return pages(series) | more


class Queries:
    """Every statement that the application sends, with its milliseconds, by the page that was asked for."""

    def __init__(self) -> None:
        self.page = ""
        self.counts = False
        self.found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.parameters: dict[str, Any] = {}
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)

    def _before(self, *call: Any) -> None:
        call[4].begun = time.perf_counter()

    def _after(self, *call: Any) -> None:
        milliseconds = (time.perf_counter() - call[4].begun) * 1000
        if self.counts:
            self.found[self.page][call[2]].append(milliseconds)
            self.parameters[call[2]] = call[3]


async def ask(url: str, nats_url: str, requests: int, series: int, rules: int, queries: Queries) -> dict[str, int]:
    """Ask for everything in turn, so many times; return what is answered with something else than 200."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 10)
    secrets = {"admin_password": SecretStr(PASSWORD), "admin_token": SecretStr(TOKEN)}
    web = make_web(Settings(database_url=SecretStr(url), **secrets), "0", bus, Health())
    await web.database.prepare()
    await seed_administrator(web)
    await configure(web, rules)
    app: Any = Shell(build(web))
    odd: dict[str, int] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, timeout=60) as client:
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        await client.post("/sign-in", data={"name": "admin", "password": PASSWORD}, headers=headers)
        program = {"authorization": f"Bearer {TOKEN}"}
        listed = await client.get("/api/v1/series?limit=200", headers=program)
        later = quote(str(listed.json()["next"]))
        for turn in range(requests + WARM):
            queries.counts = turn >= WARM
            for name, path in asked_for(series).items():
                queries.page = name
                answer = await client.get(
                    path.replace("LATER", later), headers=program if path.startswith("/api/") else None
                )
                if answer.status_code != 200:
                    odd[path] = answer.status_code
    await asyncio.to_thread(web.database.close)
    await asyncio.to_thread(web.hasher.close)
    await bus.close()
    return odd


def figures(times: list[float]) -> dict[str, float]:
    """Return median and p95 in milliseconds, and of how many."""
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return {"n": len(times), "p50": round(statistics.median(times), 2), "p95": round(p95, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--explain", action="store_true", help="print the plan of what takes longer than wanted")
    asked = parser.parse_args()
    about, queries = machine(), Queries()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hermes-bench-") as name:
        Path(name).chmod(0o755)
        with nats_server(Path(name) / "nats") as bus, kept_postgres(asked.folder) as url:
            with connected(SecretStr(url)) as cursor:
                cursor.execute("SELECT count(*), (SELECT count(*) FROM ledger.instances) FROM ledger.series")
                [(series, instances)] = cursor.fetchall()
            filled = int(asked.folder.name)
            odd = asyncio.run(ask(url, bus.url(), asked.requests, filled, asked.rules, queries))
            rows = [
                {"page": page, "query": " ".join(query.split()), **figures(times)}
                for page, found in queries.found.items()
                for query, times in found.items()
            ]
            if asked.explain:
                explain(url, queries, {row["query"] for row in rows if float(str(row["p50"])) > WANTED / 5})
    rows.sort(key=lambda row: -float(str(row["p95"])))
    slow = [row for row in rows if float(str(row["p95"])) > WANTED]
    print(f"{series} series, {instances} instances, {len(rows)} queries of {len(queries.found)} pages; {odd=}")
    for row in rows[:40]:
        print(f"{row['p50']:8} {row['p95']:8} {row['n']:5} {row['page']:36} {str(row['query'])[:150]}")
    print(f"{len(slow)} over {WANTED} ms")
    if asked.json is not None:
        found = about | {"series": series, "instances": instances, "over_50_ms": len(slow), "queries": rows}
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def explain(url: str, queries: Queries, slow: set[str]) -> None:
    """Print the plans of statements with the values with which they were last sent."""
    with connected(SecretStr(url)) as cursor:
        cursor.execute("SET work_mem = '16MB'")
        for query, parameters in queries.parameters.items():
            if " ".join(query.split()) in slow:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {query}", parameters)
                print(query, *(line for (line,) in cursor.fetchall()), "", sep="\n")


if __name__ == "__main__":
    main()
