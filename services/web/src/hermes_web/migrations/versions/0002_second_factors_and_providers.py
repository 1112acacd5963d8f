"""Second factors, accounts of an identity provider, saved views, and choices."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

S = "accounts"


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _user(*, primary_key: bool = False) -> sa.Column[object]:
    key = sa.ForeignKey(f"{S}.users.id", ondelete="CASCADE")
    return sa.Column("user_id", sa.Integer, key, primary_key=primary_key, nullable=False, index=not primary_key)


def upgrade() -> None:
    """Add columns that may be empty, and tables: the release before goes on on them."""
    op.add_column("users", sa.Column("issuer", sa.Text, nullable=True), schema=S)
    op.add_column("users", sa.Column("subject", sa.Text, nullable=True), schema=S)
    op.create_index("ix_users_issuer_subject", "users", ["issuer", "subject"], unique=True, schema=S)
    op.add_column("tokens", sa.Column("brief", sa.Boolean, nullable=False, server_default=sa.false()), schema=S)
    op.create_table(
        "second_factors",
        _user(primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=True),
        _instant("created_at"),
        _instant("confirmed_at", nullable=True),
        schema=S,
    )
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.Text, primary_key=True),
        _user(),
        _instant("used_at", nullable=True),
        schema=S,
    )
    op.create_table(
        "half_sessions",
        sa.Column("id_hash", sa.Text, primary_key=True),
        _user(),
        _instant("expires_at"),
        schema=S,
    )
    op.create_table(
        "saved_views",
        _user(primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("search", sa.Text, nullable=False),
        _instant("created_at"),
        schema=S,
    )
    op.create_table(
        "choices",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        _instant("at"),
        schema=S,
    )
