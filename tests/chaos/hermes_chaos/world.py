"""One router with its senders, its targets and everything that is known of what was done to it."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.uid import CTImageStorage

from hermes_chaos.books import End, Evidence, Fault, Ledger, confirms
from hermes_chaos.checker import LedgerViolation, unended, verify
from hermes_chaos.evidence import Collector
from hermes_chaos.fleet import SERVICE_NAMES, Fleet
from hermes_chaos.modality import Modality
from hermes_chaos.sender import MIXED, Route, Sender
from hermes_chaos.targets import STATUSES, TRICKS, ScriptedTarget, StoreScpTarget, Trick, implicit_only
from hermes_cli.errors import CliError

STUCK = 90.0
"""Seconds after the last fault within which everything has to have ended."""

COMMITTING = "archive"
"""The target that is asked for storage commitment."""

_WORN = "dispatchers in a row"


@dataclass(slots=True)
class Tally:
    """What was done, and what was not reached."""

    cycles: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    restarted: int = 0
    """Deliveries over which so many dispatchers died that they failed, restarted as a person would."""
    settled: list[float] = field(default_factory=list)
    """Seconds that the last instance took to end after the faults of each pass."""
    skipped: list[str] = field(default_factory=list)
    deliveries: int = 0
    said_delivered: int = 0
    """Deliveries, and outcomes "delivered", that the last join of all books compared."""
    resumed: dict[str, float] = field(default_factory=dict)
    """Seconds after the end of each outage until a target was sent something and the tables grew."""

    def add(self, name: str, since: float, *, repeats: bool, until: float | None = None) -> None:
        """Take down a fault that has happened: one cycle."""
        self.cycles[name] += 1
        self.faults.append(Fault(name, since, time.time() if until is None else until, repeats))


class World:
    """To be used in the main thread. ``storescp``: the path of DCMTK's, or None to do without."""

    def __init__(self, fleet: Fleet, ledger: Ledger, seed: int, folder: Path, storescp: str | None) -> None:
        self.fleet = fleet
        self.ledger = ledger
        self.chance = random.Random(seed)
        self.tally = Tally()
        self.random_kills = 2
        """How often a pass kills each service at random, beside its crash points."""
        self.outages: Sequence[str] = ()
        """Servers and seconds of each outage: "nats+s3:30"."""
        self.sender = Sender(lambda: fleet.site.dicom_port, ledger, self.chance.getrandbits(32))
        self.modality = Modality(lambda: fleet.site.dicom_port, ledger, self.chance.getrandbits(32))
        self.collector = Collector(fleet.environment)
        port = self._port
        self.tricky: dict[Trick, ScriptedTarget] = {
            trick: ScriptedTarget(trick, port(trick), ledger) for trick in TRICKS
        }
        self._played = dict.fromkeys(TRICKS, 0)
        self._replay_at = dict.fromkeys(TRICKS, 0.0)
        self.plain: dict[str, ScriptedTarget] = {
            "steady": ScriptedTarget("steady", port("steady"), ledger),
            COMMITTING: ScriptedTarget(COMMITTING, port(COMMITTING), ledger, call=lambda: fleet.site.dicom_port),
            "ct-only": ScriptedTarget("ct-only", port("ct-only"), ledger, classes=(CTImageStorage,)),
            "implicit-only": ScriptedTarget("implicit-only", port("implicit-only"), ledger, syntaxes=implicit_only()),
            "every-status": ScriptedTarget(
                "every-status",
                port("every-status"),
                ledger,
                answer=lambda number: STATUSES[(number - 1) % len(STATUSES)],
            ),
        }
        self.storescp = None if storescp is None else StoreScpTarget("storescp", storescp, folder / "scp", port("scp"))
        self._second = "steady" if self.storescp is None else "storescp"
        self.shut_port = port("shut")
        self._shut: ScriptedTarget | None = None

    def _port(self, name: str) -> int:
        return self.fleet.ports.take(f"target-{name}", 0)

    # -- routes

    @property
    def routes(self) -> list[Route]:
        """What is sent all the time: some of it to several targets, some that matches nothing, some that is refused."""
        second = self._second
        return [
            Route("steady", _delivered("steady")),
            Route("second", _delivered(second)),
            Route("both", _delivered("steady", second)),
            Route(COMMITTING, _delivered(COMMITTING)),
            Route("study", _delivered(second)),
            Route("nowhere", _delivered()),
            Route("ct-only", _ct_only, classes=MIXED),
            Route("implicit-only", _refused("implicit-only")),
        ]

    def configure(self, retention: str = "1h") -> None:
        """Save targets, rules and policies as an administrator."""
        few = {"retry": {"max_attempts": 3, "delay": "1s", "factor": 1, "max_delay": "1s"}}
        targets: list[Mapping[str, Any]] = [target.configuration() for target in self.tricky.values()]
        targets += [
            target.configuration(**(few if slug == "every-status" else {}))
            for slug, target in self.plain.items()
            if slug != COMMITTING
        ]
        asked = {"commitment": {"stay": "1s", "max_wait": "1d"}, "connect_timeout": "2s", "response_timeout": "2s"}
        targets.append(self.plain[COMMITTING].configuration(**asked))
        if self.storescp is not None:
            targets.append(self.storescp.configuration())
        targets.append({**self.plain["steady"].configuration(), "slug": "shut", "name": "shut", "port": self.shut_port})
        rules = [
            _rule(slug, f'StationName == "{slug}"', slug)
            for slug in [*self.tricky, *self.plain, "shut"]
            if slug != "steady"
        ]
        rules += [
            _rule("steady", 'StationName in ["steady", "both"]', "steady"),
            _rule("second", 'StationName in ["second", "both"]', self._second),
            {**_rule("study", 'any series (StationName == "study")', self._second), "scope": "study"},
        ]
        self.save("targets", {"targets": targets})
        self.save("rules", {"rules": rules})
        self.keep_for(retention)

    def keep_for(self, retention: str) -> None:
        """Save how long delivered series are kept."""
        completion = {"quiet_period": "1s", "study": {"quiet_period": "1s", "max_wait": "30s"}}
        self.save("policies", {"completion": completion, "retention": {"delivered": retention, "unmatched": "5000d"}})

    def save(self, kind: str, document: Mapping[str, Any]) -> None:
        """Save a document over whatever is there."""
        with self.collector.api() as api:
            api.save(kind, document, api.document(kind).etag, "chaos")

    def save_if_possible(self, number: int) -> None:
        """Save the policies a little different; the web service may die over it."""
        with contextlib.suppress(CliError), self.collector.api() as api:
            found = api.document("policies")
            retention = {**found.document["retention"], "discarded": f"{number % 20 + 1}h"}
            api.save("policies", {**found.document, "retention": retention}, found.etag, "chaos")

    # -- time passes

    def tend(self, seconds: float = 0.1) -> None:
        """Let time pass, and have targets play their tricks; a service that ends by itself is an error of its own."""
        end = time.monotonic() + seconds
        while True:
            for trick, target in self.tricky.items():
                if not target.is_tricky and time.monotonic() >= self._replay_at[trick]:
                    self._replay_at[trick] = time.monotonic() + 4
                    target.play(trick, self.chance.randint(500, 2500))
                    self.sender.in_background(self.sender.make(Route(trick, _delivered(trick)), 4))
            if (left := end - time.monotonic()) <= 0:
                return
            time.sleep(min(0.1, left))

    def all_run(self) -> None:
        """Raise if a service has ended without having been killed."""
        for name in SERVICE_NAMES:
            if self.fleet.died(name):
                raise ValueError(f"{name} was killed by somebody else:\n{self.fleet.tail(name)}")

    @contextlib.contextmanager
    def traffic(self, senders: int = 2, pause: float = 0.4) -> Iterator[None]:
        """Send all the time; at the end wait until everything that was made is acknowledged."""
        for _ in range(senders):
            self.sender.keep_sending(self.routes, pause)
        try:
            yield
        finally:
            self.sender.finish()

    def send_every_status(self) -> None:
        """Send one series whose instances are answered with every status there is."""
        route = Route("every-status", _every_status)
        self.sender.in_background(self.sender.make(route, len(STATUSES)))
        self.tally.add("target answers every status", time.time(), repeats=True)

    def open_shut(self) -> None:
        """Have the target that was down come up."""
        self._shut = ScriptedTarget("shut", self.shut_port, self.ledger)

    # -- the end

    def books(self) -> tuple[list[Any], list[Any], list[Fault]]:
        """Return the harness's own books."""
        sent, kept = self.ledger.snapshot()
        if self.storescp is not None:
            kept += self.storescp.kept()
        tricks = [fault for target in self.tricky.values() for fault in target.faults]
        return sent, kept, [*self.tally.faults, *tricks]

    def settle(self, within: float = STUCK) -> None:
        """Wait until everything that was acknowledged has ended; raise :class:`LedgerViolation` if it does not."""
        began = time.monotonic()
        left: list[str] = []
        while time.monotonic() - began < within:
            sent, kept, _ = self.books()
            left = unended(self._with_own_books(self.collector.quickly(sent, kept)))
            if not left:
                self.tally.settled.append(time.monotonic() - began)
                for trick, target in self.tricky.items():
                    self.tally.cycles[f"target {trick}"] = len(target.faults)
                return
            if any(_WORN in line for line in left):
                self._restart_worn()
            time.sleep(1.0)
        raise LedgerViolation([f"not within {within:.0f} s: {line}" for line in left])

    def join(self, within: float = 15.0) -> Evidence:
        """Join all books; raise :class:`LedgerViolation` where they contradict each other after ``within`` seconds."""
        deadline = time.monotonic() + within
        while True:  # what was said last may still be on its way into the tables
            evidence = self._with_own_books(self.collector.thoroughly(*self.books()))
            try:
                verify(evidence)
            except LedgerViolation:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(1.0)
            else:
                return evidence

    def _with_own_books(self, evidence: Evidence) -> Evidence:
        return replace(
            evidence,
            committing=frozenset({COMMITTING}),
            promised=self.ledger.promises(),
            steps=frozenset(self.ledger.steps),
        )

    def close(self) -> None:
        """Stop senders and targets."""
        self.sender.stop()
        targets: Sequence[Any] = [*self.tricky.values(), *self.plain.values(), self.storescp, self._shut]
        threads = [threading.Thread(target=target.close) for target in targets if target is not None]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)

    def _restart_worn(self) -> None:
        rows = self.collector.query("SELECT delivery_id, reason FROM ledger.deliveries WHERE state = 'failed'")
        with self.collector.api() as api:
            for delivery_id, reason in rows:
                if _WORN in reason:
                    with contextlib.suppress(CliError):  # the history may be a moment behind a restart
                        api.post(f"/deliveries/{delivery_id}/restart", {})
                        self.tally.restarted += 1


def _rule(slug: str, expression: str, *targets: str) -> dict[str, Any]:
    return {"slug": slug, "name": slug, "expression": expression, "targets": list(targets)}


def _delivered(*targets: str) -> Any:
    ends: dict[str, End] = dict.fromkeys(targets, "delivered")
    return lambda _, __: ends


def _refused(*targets: str) -> Any:
    ends: dict[str, End] = dict.fromkeys(targets, "failed")
    return lambda _, __: ends


def _ct_only(_: int, sop_class: str) -> Mapping[str, End]:
    return {"ct-only": "delivered" if sop_class == CTImageStorage else "failed"}


def _every_status(number: int, _: str) -> Mapping[str, End]:
    return {"every-status": "delivered" if confirms(STATUSES[(number - 1) % len(STATUSES)]) else "failed"}
