"""The tables of schema ``accounts``: written by the web service alone. Migrations are in ``hermes_web/migrations``."""

from sqlalchemy import (
    BigInteger,
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
    false,
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
    Column("issuer", Text, nullable=True),
    Column("subject", Text, nullable=True),
    Index("ix_users_issuer_subject", "issuer", "subject", unique=True),
)
"""``issuer`` and ``subject`` are who an account of an identity provider is; such an account has no password here."""

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
    _instant("unmasked_at", nullable=True),
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
    Column("brief", Boolean, nullable=False, server_default=false()),
)
"""``brief`` tokens are made by pages for a person who is signed in, to ask another service; nobody sees them."""

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

second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("last_step", BigInteger, nullable=True),
    _instant("created_at"),
    _instant("confirmed_at", nullable=True),
)
"""The secrets of one-time codes, sealed with ``HERMES_SECRET_KEY``; not in force before they are confirmed."""

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    _instant("used_at", nullable=True),
)
"""By the SHA-256 of user and code: 80 random bits need no slow hash."""

half_sessions = Table(
    "half_sessions",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    _instant("expires_at"),
)
"""Who has given the right password and not yet the second factor."""

saved_views = Table(
    "saved_views",
    metadata,
    Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("search", Text, nullable=False),
    _instant("created_at"),
)
"""Searches of the list of series that a person has kept."""

choices = Table(
    "choices",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _instant("at"),
)
"""What was decided once for the whole installation, such as that the first steps are not to be shown."""

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
