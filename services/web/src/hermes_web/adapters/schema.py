"""The tables of schema ``accounts``: written by the web service alone. Migrations are in ``hermes_web/migrations``."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "accounts"

metadata = MetaData(schema=SCHEMA)


def _instant(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    _instant("created_at"),
    _instant("password_changed_at"),
    _instant("last_sign_in_at", nullable=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    _instant("created_at"),
    _instant("last_seen_at"),
    _instant("expires_at"),
)
"""Sessions by the SHA-256 of their ids: who reads the table cannot use them."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("owner_id", ForeignKey(users.c.id, ondelete="CASCADE"), nullable=True, index=True),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("last_used_at", nullable=True),
    _instant("revoked_at", nullable=True),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("number", Integer, Identity(), primary_key=True),
    Column("account", Text, nullable=False),
    Column("address", Text, nullable=False),
    _instant("at"),
    Index("ix_login_attempts_account", "account", "at"),
    Index("ix_login_attempts_address", "address", "at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", Integer, Identity(), primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    _instant("at"),
)
"""Events about users, written with what they are about and published after the commit."""
