"""The history in PostgreSQL, schema ``ledger``: written by the bookkeeper, read by the web service.

The tables are the contract between the two. They only grow: a release adds columns and tables that the release before
can ignore, and takes away what no running release reads.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    event,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

SCHEMA = "ledger"

MILESTONE = "type <> 'hermes.v1.instance.stored'"
"""Condition of the index over what happened to a series besides receptions; a query has to repeat it."""

SEPARATORS = "".join(mark for mark in map(chr, range(33, 127)) if not mark.isalnum())
"""What parts words, besides white space: the punctuation of ASCII. ``DOE^JANE`` is two words, ``T1_SE/axial`` three."""

SERIES_WORDS = """
CREATE OR REPLACE FUNCTION ledger.series_words(tags jsonb, patient text, accession text, aet text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 AS $body$
    SELECT pg_catalog.to_tsvector('pg_catalog.simple', left(translate(
        patient || ' ' || accession || ' ' || aet || ' ' || coalesce((
            SELECT string_agg(value.value, ' ')
            FROM jsonb_each(tags) AS tag, jsonb_array_elements_text(
                CASE jsonb_typeof(tag.value) WHEN 'array' THEN tag.value ELSE '[]' END) AS value
            WHERE value.value ~ '[^-0-9.,+ ]'
        ), ''), $marks$!"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~$marks$, repeat(' ', 32)), 200000))
$body$"""
"""The words of a series: every tag that is more than numbers, and what identifies; 'simple': folded to lower case, no
language assumed."""

KEEP_WORDS = """
CREATE OR REPLACE FUNCTION ledger.keep_series_words() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.words := ledger.series_words(NEW.tags, NEW.patient_id, NEW.accession_number, NEW.calling_aet);
    RETURN NEW;
END
$body$"""
WORDS_KEPT = """
CREATE OR REPLACE TRIGGER keep_words BEFORE INSERT OR UPDATE OF tags, patient_id, accession_number, calling_aet, words
ON ledger.series FOR EACH ROW EXECUTE FUNCTION ledger.keep_series_words()"""
"""Whoever writes a series, also a release that does not know of its words."""

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
)


def _instant(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _json(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False)


def _sender() -> list[Column[object]]:
    return [Column(name, Text, nullable=False, server_default="") for name in ("calling_aet", "called_aet", "address")]


events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, index=True),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text, nullable=False),
    _instant("time", nullable=False),
    Column("series_uid", Text),
    Column("delivery_id", Text, index=True),
    Column("about", Text),
    _json("data"),
    _instant("recorded_at", nullable=False),
    Index("ix_events_milestones", "series_uid", "seq", postgresql_where=text(MILESTONE)),
    Index("ix_events_about", "about", postgresql_where=text("about IS NOT NULL")),
)
"""Every event once, by its id. ``seq`` is the sequence in the stream at which it was first said, ``about`` the
association, service process, alert or study that it is about. What happened to a series besides receptions is found by
``series_uid`` and :data:`MILESTONE`."""

series = Table(
    "series",
    metadata,
    Column("series_uid", Text, primary_key=True),
    Column("study_uid", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("octets", BigInteger, nullable=False, server_default="0"),
    Column("duplicates", Integer, nullable=False, server_default="0"),
    Column("conflicts", Integer, nullable=False, server_default="0"),
    Column("batches", Integer, nullable=False, server_default="0"),
    *_sender(),
    Column("modality", Text, nullable=False, server_default=""),
    Column("patient_id", Text, nullable=False, server_default=""),
    Column("patient_name", Text, nullable=False, server_default=""),
    Column("accession_number", Text, nullable=False, server_default=""),
    Column("study_description", Text, nullable=False, server_default=""),
    Column("series_description", Text, nullable=False, server_default=""),
    Column("tags", JSONB, nullable=False, server_default="{}"),
    Column("problems", JSONB, nullable=False, server_default="[]"),
    Column("rules_revision", Integer),
    _instant("first_received_at", nullable=False),
    _instant("last_received_at", nullable=False),
    _instant("completed_at"),
    _instant("decided_at"),
    _instant("ended_at"),
    _instant("deleted_at"),
    Column("last_seq", BigInteger, nullable=False),
    Column("words", TSVECTOR),
    Index(None, "last_received_at", "series_uid"),
    Index(None, "state", "last_received_at"),
    Index(None, "modality", "last_received_at"),
    Index(None, "calling_aet", "last_received_at"),
    Index(None, "address", "last_received_at"),
    Index(None, "patient_id"),
    Index(None, "accession_number"),
    Index(None, "words", postgresql_using="gin"),
    Index(
        "ix_series_kept",
        "state",
        postgresql_include=["octets", "last_received_at"],
        postgresql_where=text("state <> 'deleted'"),
    ),
    Index(
        "ix_series_deleted_at",
        "deleted_at",
        postgresql_include=["octets"],
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
)
"""One row a series. ``state``: receiving, completed, routed, delivered, partly_failed, failed, unmatched, discarded,
deleted. ``instances`` counts distinct SOP instances, ``ended_at`` when its last delivery ended, ``words`` what people
search for; those of a series that an earlier release wrote are null until the bookkeeper has come to it."""

instances = Table(
    "instances",
    metadata,
    Column("reception_id", Text, primary_key=True),
    Column("series_uid", Text, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False, index=True),
    Column("sop_class_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("association_id", Text, nullable=False, index=True),
    *_sender(),
    Column("duplicate", Boolean, nullable=False, server_default=false()),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    _instant("received_at", nullable=False),
    _instant("stored_at", nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "series_uid", "seq"),
)
"""One row a reception. ``duplicate``: the same instance with the same bytes was there before."""

batches = Table(
    "batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("series_uid", Text, nullable=False, index=True),
    Column("batch", Integer, nullable=False),
    Column("manifest_key", Text, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("conflicts", Integer, nullable=False),
    _instant("first_received_at", nullable=False),
    _instant("last_received_at", nullable=False),
    _instant("completed_at", nullable=False),
    Column("quiet_period", Text, nullable=False, server_default=""),
    Column("quiet_for", Text, nullable=False, server_default=""),
    Column("shortened_by", Text, nullable=False, server_default=""),
    Column("seq", BigInteger, nullable=False, server_default="0"),
)
"""``quiet_period`` such as ``30s``, ``quiet_for`` the entry of the policies that it is from, empty for the general one;
``shortened_by`` why less was waited for."""

decisions = Table(
    "decisions",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("batch_id", Text, nullable=False, index=True),
    Column("series_uid", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("actor", Text, nullable=False, server_default=""),
    _json("decision"),
    _instant("decided_at", nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "decided_at"),
)
"""Every decision whole, as ``hermes_common.events.Decision``."""

studies = Table(
    "studies",
    metadata,
    Column("study_uid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("rounds", Integer, nullable=False, server_default="0"),
    Column("series", Integer, nullable=False, server_default="0"),
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("outcome", Text, nullable=False, server_default=""),
    Column("rules_revision", Integer),
    Column("problems", JSONB, nullable=False, server_default="[]"),
    _instant("opened_at", nullable=False),
    _instant("completed_at"),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "state", "opened_at"),
)
"""One row a study that has been decided or held. ``state``: held, complete; what of it is undecided only its live
record says (``hermes_common.records.StudyRecord``)."""

study_decisions = Table(
    "study_decisions",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("study_uid", Text, nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("actor", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    _json("decision"),
    _instant("completed_at", nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""Every time that a study was decided, whole, as ``hermes_common.events.StudyCompleted``."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("series_uid", Text, nullable=False, index=True),
    Column("study_uid", Text, nullable=False),
    Column("batch_id", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Text, nullable=False),
    _json("rules"),
    Column("instances", Integer, nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("delivered", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("bulk", Text, nullable=False, server_default=""),
    Column("commitment", Text, nullable=False, server_default=""),
    Column("commitment_uid", Text, nullable=False, server_default=""),
    Column("commitment_reason", Text, nullable=False, server_default=""),
    Column("committed", Integer, nullable=False, server_default="0"),
    Column("uncommitted", JSONB, nullable=False, server_default="[]"),
    _instant("commitment_at"),
    _instant("next_attempt_at"),
    _instant("queued_at", nullable=False),
    _instant("started_at"),
    _instant("ended_at"),
    _instant("updated_at", nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "target", "state"),
    Index(None, "state", "updated_at"),
    Index(None, "target", "updated_at"),
    Index(None, "updated_at", "delivery_id"),
    Index("ix_deliveries_acted_on", "target", "actor", "updated_at", postgresql_where=text("actor <> ''")),
    Index("ix_deliveries_bulk", "bulk", "state", postgresql_where=text("bulk <> ''")),
    Index("ix_deliveries_commitment", "commitment", "updated_at", postgresql_where=text("commitment <> ''")),
    Index("ix_deliveries_rules", "rules", postgresql_using="gin", postgresql_ops={"rules": "jsonb_path_ops"}),
)
"""One row a delivery. ``state`` is one of ``hermes_common.records.DeliveryState``; ``delivered`` counts the instances
of which the target said that it has them. ``commitment``: empty, or what came of asking the target to keep them
(``requested``, ``committed``, ``failed``), with the transaction UID, the time, how many it keeps, and the first 500
that it does not with the reason of each. ``bulk`` is the id of the bulk action that restarted it last."""

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("dispatcher", Text, nullable=False, server_default=""),
    Column("endpoint", Text, nullable=False, server_default=""),
    _instant("started_at"),
    _instant("ended_at"),
    Column("result", Text, nullable=False, server_default=""),
    Column("missing", Integer),
    Column("reason", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("delivery_id", "attempt"),
)
"""One row an attempt; ``result`` is the state that it left the delivery in, empty while it runs; ``endpoint`` is the
address that it went to."""

SENT_AS = (
    "sent_sop_instance_uid", "sent_series_uid", "sent_study_uid", "sent_transfer_syntax_uid", "sent_digest"
)  # fmt: skip
"""What was sent instead of what was received; empty if it was not changed on the way."""

instance_deliveries = Table(
    "instance_deliveries",
    metadata,
    Column("delivery_id", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("sop_instance_uid", Text, nullable=False, index=True),
    Column("result", Text, nullable=False),
    Column("status", Integer),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempt", Integer, nullable=False),
    _instant("at", nullable=False),
    Column("seq", BigInteger, nullable=False),
    *(Column(name, Text, nullable=False, server_default="") for name in SENT_AS),
    PrimaryKeyConstraint("delivery_id", "index"),
)
"""The last outcome of each instance at each target: ``delivered`` or ``failed``. Once delivered, always delivered."""

associations = Table(
    "associations",
    metadata,
    Column("association_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    *_sender(),
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("octets", BigInteger, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    _instant("opened_at", nullable=False),
    _instant("closed_at"),
    Column("tls", Text, nullable=False, server_default=""),
    Column("certificate", Text, nullable=False, server_default=""),
    Column("identity", Text, nullable=False, server_default=""),
    Column("implementation", Text, nullable=False, server_default=""),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "calling_aet", "opened_at"),
    Index(None, "opened_at"),
)
"""``state``: opened, closed, aborted, rejected."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("reception_id", Text, primary_key=True),
    Column("association_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("octets", BigInteger, nullable=False),
    *_sender(),
    Column("sop_class_uid", Text, nullable=False, server_default=""),
    Column("sop_instance_uid", Text, nullable=False, server_default=""),
    _instant("received_at", nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "received_at"),
)

config_changes = Table(
    "config_changes",
    metadata,
    Column("kind", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False, server_default=""),
    _instant("time", nullable=False),
    _json("before"),
    _json("after"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("kind", "revision"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    _instant("time", nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("about", Text, nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("sequence", BigInteger, unique=True),
    Column("previous", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, server_default=""),
    Column("key_id", Text, nullable=False, server_default=""),
    Column("adopted", Boolean, nullable=False, server_default=false()),
    Index(None, "time"),
    Index(None, "actor", "time"),
)
"""What people did: ``action`` is the type of the event without ``hermes.v1.``. The last five columns are its place in
the chain (``hermes_common.auditchain``); ``sequence`` is null in one of the release before, until it is taken over."""

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    _instant("began_at", nullable=False),
    _instant("adopt_until", nullable=False),
    Column("genesis", Text, nullable=False),
    Column("genesis_key_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row, ``id`` 1: how the chain of the audit began, and its head, which who adds to it locks."""

services = Table(
    "services",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("version", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _instant("started_at"),
    _instant("ended_at"),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "service", "started_at"),
)
"""``state``: started, stopped, crashed."""

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _instant("raised_at", nullable=False),
    _instant("cleared_at"),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "cleared_at", "raised_at"),
    Index(None, "kind", "about"),
)

alert_news = Table(
    "alert_news",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False, index=True),
    Column("what", Text, nullable=False),
    _instant("time", nullable=False),
    _instant("look_at", nullable=False),
    _instant("done_at"),
    Column("outcome", Text, nullable=False, server_default=""),
    Index("ix_alert_news_open", "look_at", postgresql_where=text("done_at IS NULL")),
)
"""What was said of alerts and has to be told, or not: ``what`` is raised or cleared, ``look_at`` when to decide."""

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False, index=True),
    Column("channel", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    _instant("created_at", nullable=False),
    _instant("next_at", nullable=False),
    _instant("leased_until"),
    _instant("ended_at"),
    Index(None, "channel", "state", "next_at"),
    Index(None, "ended_at"),
)
"""Messages to channels. ``what``: raised, cleared, reminder; ``state``: waiting, sent, failed, withdrawn. Whoever sends
one holds it until ``leased_until``; after that it is sent again."""

parked = Table(
    "parked",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("original_subject", Text, nullable=False),
    Column("stream_sequence", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    _instant("time", nullable=False),
)
"""Messages that could not be worked on; their content is in the stream HERMES_PARKED."""


for _moment, _statement in (
    ("before_create", SERIES_WORDS),
    ("before_create", KEEP_WORDS),
    ("after_create", WORDS_KEPT),
):
    event.listen(series, _moment, DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]  # it has no types
