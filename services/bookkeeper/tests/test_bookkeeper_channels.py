"""Alerts told over channels, to a real SMTP server and a real HTTP server, from a real outbox."""

import asyncio
import email
import email.policy
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.outbox import SqlOutbox
from hermes_bookkeeper.adapters.sending import Post
from hermes_bookkeeper.handlers.channeltests import Answerer
from hermes_bookkeeper.handlers.telling import Teller
from hermes_bookkeeper.sendletter import secrets_in, signature
from hermes_common.alerting import Alerting, AppriseChannel, Quiet, Silence, WebhookChannel
from hermes_common.channels import ASK_TEST, ChannelTestAsked, ChannelTested
from hermes_common.events import AlertCleared, AlertRaised
from hermes_common.runtime.sealing import Sealer, sealed_channels

pytestmark = pytest.mark.servers

SEALER = Sealer(SecretStr("a key of at least 32 characters ..."))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mailbox:
    """What an SMTP server was given."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # the name that aiosmtpd calls
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    def text(self, number: int = 0) -> str:
        return self.mails[number].get_body(("plain", "html")).get_content()


class Smtp:
    """An SMTP server that can be stopped and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.box = Mailbox()
        self._running: Controller | None = None

    def start(self) -> None:
        self._running = Controller(self.box, hostname="127.0.0.1", port=self.port)
        self._running.start()

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}/?from=hermes@example.org&to=ops@example.org"


class Hook:
    """A web server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.location = ""
        self.delay = 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(hook.delay)
                hook.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("location", hook.location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def messages(self) -> list[dict[str, Any]]:
        return [message for _, body in self.posts for message in json.loads(body)["messages"]]


@pytest.fixture
def smtp() -> Iterator[Smtp]:
    server = Smtp()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def mail(smtp: Smtp, **more: Any) -> AppriseChannel:
    return AppriseChannel(slug="mail", name="Mail", url=SecretStr(smtp.url), **more)


def webhook(hook: Hook, **more: Any) -> WebhookChannel:
    return WebhookChannel(**{"slug": "hook", "name": "Hook", "url": hook.url, "key": SecretStr("planted-key"), **more})


def alerting(*channels: Any, **more: Any) -> Alerting:
    return sealed_channels(Alerting(channels=channels, **more), Alerting(), SEALER)


class Site:
    """Books, an outbox and one who tells, with a clock of their own."""

    def __init__(self, database: Database, books: Any, stream: Any, clock: Clock, configuration: Alerting) -> None:
        self.books, self.stream, self.clock, self.configuration = books, stream, clock, configuration
        self.database = database
        self.teller = self.another()

    def another(self, database: Database | None = None, limit: timedelta = timedelta(seconds=60)) -> Teller:
        outbox = SqlOutbox(database or self.database)
        return Teller(outbox, Post(SEALER, limit), lambda: self.configuration, self.clock, "bookkeeper@test")

    async def say(self, event: Any) -> None:
        """Record an event as of now."""
        message = self.stream.say(event)
        message.headers["ce-time"] = self.clock.now.isoformat()
        await self.books.record(facts([message]))

    async def raised(self, about: str = "pacs", kind: str = "target_down", severity: str = "critical", **more) -> None:
        event = {"alert_id": f"{kind}/{about}", "kind": kind, "about": about, "severity": severity}
        await self.say(AlertRaised(**{**event, "message": f"Target {about} is down", **more}))

    async def cleared(self, about: str = "pacs", kind: str = "target_down") -> None:
        event = {"alert_id": f"{kind}/{about}", "kind": kind, "about": about}
        await self.say(AlertCleared(**event, reason="the target answers again"))

    async def tell(self) -> None:
        await self.teller.tick()
        await self.teller.settled()

    async def states(self) -> list[tuple[Any, ...]]:
        def read(cursor):
            cursor.execute(
                "SELECT channel, what, state, attempt FROM ledger.alert_messages ORDER BY created_at, what DESC"
            )
            return cursor.fetchall()

        return await self.database.run(read)


def facts(messages):
    from hermes_bookkeeper.core.facts import read

    return [read(item.subject, item.headers, item.data, item.sequence) for item in messages]


@pytest.fixture
def site(database, books, stream, clock) -> Callable[..., Site]:
    return lambda *channels, **more: Site(database, books, stream, clock, alerting(*channels, **more))


async def test_an_alert_and_its_end_arrive_by_mail_and_by_a_signed_webhook(site, smtp, hook, clock):
    here = site(mail(smtp), webhook(hook), site="Site A", address="https://hermes.example.org")
    await here.raised()
    await here.tell()
    clock.later(minutes=12)
    await here.cleared()
    await here.tell()
    subjects = [message["subject"] for message in smtp.box.mails]
    assert subjects == [
        "[Site A] raised: target down: pacs",
        "[Site A] over: target down: pacs (after 12 min)",
    ]
    assert "Target pacs is down" in smtp.box.text()
    assert "https://hermes.example.org/alerts" in smtp.box.text()
    assert "the target answers again" in smtp.box.text(1)
    for headers, body in hook.posts:
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature("planted-key", headers["webhook-id"], stamp, body)
        assert headers["webhook-signature"] != signature("another-key", headers["webhook-id"], stamp, body)
    assert [(item["what"], item["about"], item["severity"]) for item in hook.messages()] == [
        ("raised", "pacs", "critical"),
        ("cleared", "pacs", "critical"),
    ]
    assert {state for *_, state, _ in await here.states()} == {"sent"}


async def test_two_bookkeepers_send_a_message_once(site, hook, ledger_url):
    here = site(webhook(hook))
    await here.raised()
    second = Database(ledger_url, "second")
    try:
        tellers = [here.teller, here.another(second)]
        hook.delay = 0.3
        for _ in range(3):
            await asyncio.gather(*(teller.tick() for teller in tellers))
        await asyncio.gather(*(teller.settled() for teller in tellers))
        assert len(hook.posts) == 1
        assert await here.states() == [("hook", "raised", "sent", 1)]
    finally:
        await second.close()


async def test_one_that_ended_in_mid_sending_is_followed_by_another_when_its_lease_is_over(site, hook, clock):
    here = site(webhook(hook))
    await here.raised()
    await here.teller.tick()
    await here.teller.settled()
    await here.database.run(
        lambda cursor: cursor.execute(
            "UPDATE ledger.alert_messages SET state = 'waiting', leased_until = %s", [clock.now + timedelta(seconds=90)]
        )
    )  # as it is left by a bookkeeper that was killed after it had sent and before it wrote that down
    await here.tell()
    assert len(hook.posts) == 1, "held by the lease"
    clock.later(seconds=91)
    await here.tell()
    assert [item["id"] for item in hook.messages()] == [hook.messages()[0]["id"]] * 2, "at least once, under one id"


async def test_a_mail_server_that_is_down_is_tried_again_and_holds_up_no_other_channel(site, smtp, hook, clock):
    smtp.stop()
    here = site(mail(smtp), webhook(hook))
    await here.raised("one")
    for _ in range(3):
        await here.tell()
        clock.later(minutes=2)
    assert [item["about"] for item in hook.messages()] == ["one"]
    assert ("mail", "raised", "waiting", 3) in await here.states()
    await here.raised("two")
    smtp.start()
    await here.tell()
    [both] = smtp.box.mails
    assert both["subject"] == "[Hermes] 2 alerts: 2 target down (raised)"
    assert "Target one is down" in smtp.box.text()
    assert "Target two is down" in smtp.box.text()
    assert {state for _, _, state, _ in await here.states()} == {"sent"}


async def test_a_channel_that_hangs_is_ended_and_tells_why_without_its_secrets(site, clock):
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"mailto://planted-user:planted-pass@127.0.0.1:{silent.getsockname()[1]}/?from=a@example.org&to=b@example.org"
    here = site(AppriseChannel(slug="mail", name="Mail", url=SecretStr(url)))
    here.teller = here.another(limit=timedelta(seconds=3))
    await here.raised()
    await here.tell()
    [(reason,)] = await here.database.run(lambda cursor: _all(cursor, "SELECT reason FROM ledger.alert_messages"))
    assert "not finished after 3 s" in reason
    assert "planted" not in reason
    silent.close()


def _all(cursor, statement):
    cursor.execute(statement)
    return cursor.fetchall()


async def test_a_refusal_is_kept_with_its_status_and_a_redirect_is_not_followed(site, hook, clock):
    here = site(webhook(hook))
    hook.status = 503
    await here.raised()
    await here.tell()
    [(reason,)] = await here.database.run(lambda cursor: _all(cursor, "SELECT reason FROM ledger.alert_messages"))
    assert "HTTP 503" in reason
    clock.later(minutes=1)
    hook.status, hook.location = 307, "http://127.0.0.1:9/elsewhere"
    await here.tell()
    [(reason,)] = await here.database.run(lambda cursor: _all(cursor, "SELECT reason FROM ledger.alert_messages"))
    assert "HTTP 307" in reason


async def test_a_silence_keeps_an_alert_to_itself_until_it_ends(site, hook, clock):
    silence = Silence(
        slug="s1", about="pacs", reason="moved to another rack", since=NOON, until=NOON + timedelta(hours=1)
    )
    here = site(webhook(hook), silences=(silence,))
    await here.raised("pacs")
    await here.raised("archive")
    await here.raised("pacs-two")
    await here.tell()
    assert sorted(item["about"] for item in hook.messages()) == ["archive", "pacs-two"]
    clock.later(minutes=59)
    await here.tell()
    assert len(hook.messages()) == 2
    clock.later(minutes=2)
    await here.tell()
    assert hook.messages()[-1]["about"] == "pacs", "it is told when the silence ends and it still is so"


async def test_what_is_over_within_a_silence_or_within_quiet_hours_is_told_to_nobody(site, hook, clock):
    quiet = Quiet(start="11:00", end="13:00")
    here = site(webhook(hook, quiet=quiet))
    await here.raised("pacs", severity="warning")
    await here.raised("urgent", severity="critical")
    await here.tell()
    assert [item["about"] for item in hook.messages()] == ["urgent"]
    clock.later(minutes=10)
    await here.cleared("pacs")
    await here.tell()
    clock.later(hours=2)
    await here.tell()
    assert [item["about"] for item in hook.messages()] == ["urgent"]
    assert ("hook", "raised", "withdrawn", 0) in await here.states()


async def test_reminders_come_until_it_is_over(site, hook, clock):
    here = site(webhook(hook, reminder="1h"))
    await here.raised()
    for _ in range(5):
        await here.tell()
        clock.later(minutes=40)
    await here.cleared()
    for _ in range(3):
        await here.tell()
        clock.later(minutes=40)
    assert [item["what"] for item in hook.messages()] == ["raised", "reminder", "reminder", "cleared"]


async def test_without_a_channel_nothing_is_made_and_old_news_is_told_to_nobody(site, hook, clock):
    here = site()
    await here.raised("one")
    await here.tell()
    assert await here.states() == []
    here.configuration = alerting(webhook(hook))
    await here.raised("two")
    clock.later(hours=25)
    await here.tell()
    assert hook.posts == []


async def test_a_flood_of_alerts_is_one_letter(site, hook, smtp, clock):
    here = site(webhook(hook), mail(smtp))
    for number in range(60):
        await here.raised(f"pacs/{number}", "delivery_failed", message=f"delivery {number} failed")
    await here.tell()
    assert len(hook.posts) == 1
    assert len(hook.messages()) == 60
    assert smtp.box.mails[0]["subject"] == "[Hermes] 60 alerts: 60 delivery failed (raised)"
    assert "and 40 more" in smtp.box.text()


async def test_messages_of_a_channel_that_was_removed_are_withdrawn(site, hook, clock):
    here = site(webhook(hook))
    hook.status = 500
    await here.raised()
    await here.tell()
    here.configuration = alerting()
    await here.tell()
    assert await here.states() == [("hook", "raised", "withdrawn", 1)]


async def test_hostile_text_stays_text(site, hook, smtp, clock):
    hostile = (
        "<script>alert(1)</script>\r\nBcc: all@example.org\r\n\u202e${link} $site {{7*7}} @everyone <!channel> \x00"
    )
    here = site(mail(smtp), webhook(hook))
    await here.raised(hostile, message=hostile)
    await here.tell()
    [received] = smtp.box.mails
    assert received["bcc"] is None
    assert received["to"].addresses[0].addr_spec == "ops@example.org"
    assert len(received["to"].addresses) == 1
    assert [part.get_content_type() for part in received.walk()] == ["text/plain"], "nothing in it is markup"
    text = received.get_content()
    assert "49" not in text
    assert "$site" in text, "a value is never read as a template"
    assert "@everyone" not in text
    assert "<!channel>" not in text
    assert "\u202e" not in text
    [message] = hook.messages()
    assert message["about"].startswith("<script>"), "a program gets what was said, as JSON"


async def test_a_test_goes_through_the_bus_step_by_step(site, hook, smtp, bus, clock):
    here = site(mail(smtp), webhook(hook, slug="bad", url="http://127.0.0.1:9/x"))

    async def refreshed() -> None:
        """The configuration is the test's own."""

    task = asyncio.create_task(Answerer(bus, here.teller, refreshed).run())
    try:

        async def ask(slug: str) -> ChannelTested:
            body = ChannelTestAsked(slug=slug, actor="ann").model_dump_json().encode()
            for _ in range(100):
                try:
                    return ChannelTested.model_validate_json((await bus.nc.request(ASK_TEST, body, timeout=25)).data)
                except Exception as error:  # noqa: BLE001  # nobody listens yet
                    failure = error
                    await asyncio.sleep(0.05)
            raise AssertionError(failure)

        good = await ask("mail")
        assert good.ok
        assert [step.name for step in good.steps] == ["understand the address", "send"]
        assert "ann" in smtp.box.text()
        refused = await ask("bad")
        assert not refused.ok
        assert "refused" in refused.steps[-1].detail.lower()
        unknown = await ask("nothing")
        assert "not in the configuration" in unknown.steps[0].detail
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_address_that_apprise_does_not_know_is_said_without_being_repeated(site, clock):
    here = site(AppriseChannel(slug="odd", name="Odd", url=SecretStr("nosuch://planted-token-1/planted-token-2")))
    tested = await here.teller.test("odd", "")
    assert not tested.ok
    assert tested.steps[0].name == "understand the address"
    assert "planted" not in tested.model_dump_json()


async def test_no_secret_of_a_channel_is_in_the_database(site, hook, ledger_url, contents):
    here = site(webhook(hook), AppriseChannel(slug="odd", name="Odd", url=SecretStr("json://planted@127.0.0.1:9/x")))
    await here.raised()
    await here.tell()
    assert "planted" not in repr(contents())


def test_what_is_secret_in_an_address_is_found():
    assert "s3cret" in secrets_in("mailto://me:s3cret@example.org?to=a@b.c")
    assert "T1ABCDEF" in secrets_in("slack://T1ABCDEF/B1ABCDEF/xyzxyz")
    assert "example.org" not in secrets_in("mailto://me:s3cret@example.org/")


def test_a_webhook_is_signed_as_standard_webhooks_has_it():
    # The example of the specification's reference libraries.
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
