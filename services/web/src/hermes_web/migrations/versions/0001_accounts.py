"""Users, sessions, tokens, tries to sign in, and the outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

S = "accounts"


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        _instant("created_at"),
        _instant("password_changed_at"),
        _instant("last_sign_in_at", nullable=True),
        schema=S,
    )
    _sessions_and_tokens()
    op.create_table(
        "login_attempts",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        _instant("at"),
        schema=S,
    )
    op.create_index("ix_login_attempts_account", "login_attempts", ["account", "at"], schema=S)
    op.create_index("ix_login_attempts_address", "login_attempts", ["address", "at"], schema=S)
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        _instant("at"),
        schema=S,
    )


def _sessions_and_tokens() -> None:
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.Text, primary_key=True),
        sa.Column(
            "user_id", sa.Integer, sa.ForeignKey(f"{S}.users.id", ondelete="CASCADE"), nullable=False, index=True
        ),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        _instant("created_at"),
        _instant("last_seen_at"),
        _instant("expires_at"),
        schema=S,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column(
            "owner_id", sa.Integer, sa.ForeignKey(f"{S}.users.id", ondelete="CASCADE"), nullable=True, index=True
        ),
        _instant("created_at"),
        _instant("expires_at", nullable=True),
        _instant("last_used_at", nullable=True),
        _instant("revoked_at", nullable=True),
        schema=S,
    )
