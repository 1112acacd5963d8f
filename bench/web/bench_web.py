"""How long the server takes for a page, with a history of many series.

    .venv/bin/python bench/web/bench_web.py [--series 100000] [--requests 100]

A real PostgreSQL and NATS on this machine, the application in this process without a network between: what is measured
is the guard, the queries, the templates. Each page is asked for in turn with the others, by a signed-in administrator.
Series come from 20 sources over 30 days; each has two deliveries, 2 % are unmatched, 1 % of the deliveries failed.
"""

import argparse
import asyncio
import gzip
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from hermes_common import ledger
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server, postgres_server
from hermes_web.app import build, make_web, seed_administrator
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings

PASSWORD = "mossy lantern 47 orbit"  # noqa: S105 - of an account that ends with the run
ORIGIN = "https://hermes.test"
PAGES = {
    "overview": "/",
    "series, newest": "/series",
    "series, a qualifier": "/series?q=modality:MR+source:MR05",
    "series, unmatched": "/series?q=status:unmatched",
    "series, a patient": "/series?q=patient:P0099999",
    "series, free text": "/series?q=knee+99",
    "series, text that is nowhere": "/series?q=nowhere",
    "series, at a target": "/series?q=target:archive",
    "one series": "/series/1.2.826.0.1.3680043.10.1561.500",
    "deliveries, failed": "/deliveries?state=failed",
    "errors": "/errors",
}
SERIES = """
INSERT INTO ledger.series (series_uid, study_uid, state, instances, octets, batches, calling_aet, called_aet, address,
  modality, patient_id, patient_name, accession_number, study_description, series_description, tags, first_received_at,
  last_received_at, completed_at, decided_at, last_seq)
SELECT '1.2.826.0.1.3680043.10.1561.' || n, '1.2.826.0.1.3680043.10.1562.' || n / 4,
  CASE WHEN n % 50 = 0 THEN 'unmatched' WHEN n % 100 = 1 THEN 'failed' ELSE 'delivered' END, 100 + n % 300,
  52000000, 1, 'MR' || lpad((n % 20)::text, 2, '0'), 'HERMES', '10.1.2.' || n % 20,
  (ARRAY['CT', 'MR', 'US', 'CR'])[1 + n % 4], 'P' || lpad(n::text, 7, '0'), 'DOE^JANE ' || n, 'A' || n,
  (ARRAY['brain', 'knee', 'chest', 'abdomen'])[1 + n % 4] || ' study', 't1 series ' || n % 1000,
  '{"Modality": ["MR"], "ImageType": ["ORIGINAL", "PRIMARY"], "SliceThickness": ["1.5"]}', t, t, t, t, n
FROM (SELECT n, now() - n * interval '30 days' / :count AS t FROM generate_series(1, :count) AS n) AS made
"""
DELIVERIES = """
INSERT INTO ledger.deliveries (delivery_id, series_uid, study_uid, batch_id, target, state, priority, rules, instances,
  octets, delivered, attempt, reason, queued_at, started_at, ended_at, updated_at, last_seq)
SELECT md5(series_uid || target)::uuid::text, series_uid, study_uid, series_uid, target,
  CASE WHEN state = 'failed' THEN 'failed' ELSE 'succeeded' END, 'normal', '["brain"]', instances, octets,
  CASE WHEN state = 'failed' THEN 0 ELSE instances END, 1,
  CASE WHEN state = 'failed' THEN 'the peer answered 0xA700: refused: out of resources' ELSE '' END,
  last_received_at, last_received_at, last_received_at + interval '5 s', last_received_at + interval '5 s', last_seq
FROM ledger.series, (VALUES ('pacs'), ('archive')) AS targets (target) WHERE state <> 'unmatched'
"""


def fill(url: str, count: int) -> None:
    """Make the tables of the history and fill them."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA ledger"))
        ledger.metadata.create_all(connection)
        connection.execute(text(SERIES), {"count": count})
        connection.execute(text(DELIVERIES))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


async def measure(url: str, nats_url: str, requests: int) -> dict[str, tuple[list[float], bytes]]:
    """Return milliseconds of each request, and the last answer, of every page."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 10)
    web = make_web(Settings(database_url=SecretStr(url), admin_password=SecretStr(PASSWORD)), "0", bus, Health())
    await web.database.prepare()
    await seed_administrator(web)
    app: Any = Shell(build(web))
    found: dict[str, tuple[list[float], bytes]] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        form = {"name": "admin", "password": PASSWORD}
        assert (await client.post("/sign-in", data=form, headers=headers)).status_code == 303
        for turn in range(requests + 3):
            for name, path in PAGES.items():
                start = time.perf_counter()
                answer = await client.get(path)
                took = (time.perf_counter() - start) * 1000
                assert answer.status_code == 200, path
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
    parser.add_argument("--requests", type=int, default=100)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hermes-bench-") as folder,
        nats_server(Path(folder) / "nats") as bus,
        postgres_server(Path(folder) / "postgres") as database,
    ):
        Path(folder).chmod(0o755)
        fill(database.url, asked.series)
        found = asyncio.run(measure(database.url, bus.url(), asked.requests))
    print(f"{asked.series} series, {asked.requests} requests of each page; milliseconds at the server")
    print(f"{'page':32} {'median':>8} {'p95':>8} {'max':>8} {'rows':>6} {'KB gz':>7}")
    for name, (times, body) in found.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        rows = len(re.findall(rb"<tr>", body))
        size = len(gzip.compress(body)) / 1000
        print(f"{name:32} {statistics.median(times):8.1f} {p95:8.1f} {max(times):8.1f} {rows:6} {size:7.1f}")


if __name__ == "__main__":
    main()
