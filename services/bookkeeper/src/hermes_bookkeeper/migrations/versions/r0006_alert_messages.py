"""What is told of alerts, and over which channel."""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0008"


def upgrade() -> None:
    """Add two tables and an index; nothing that the release before reads or writes is changed."""
    op.create_table(
        "alert_news",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_alert_news")),
        schema="ledger",
    )
    op.create_index("ix_alert_news_alert_id", "alert_news", ["alert_id"], schema="ledger")
    op.create_index(
        "ix_alert_news_open", "alert_news", ["look_at"], schema="ledger", postgresql_where=sa.text("done_at IS NULL")
    )
    op.create_table(
        "alert_messages",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_alert_messages")),
        schema="ledger",
    )
    op.create_index("ix_alert_messages_alert_id", "alert_messages", ["alert_id"], schema="ledger")
    op.create_index(
        "ix_alert_messages_channel_state_next_at", "alert_messages", ["channel", "state", "next_at"], schema="ledger"
    )
    op.create_index("ix_alerts_kind_about", "alerts", ["kind", "about"], schema="ledger")
    op.create_index("ix_alert_messages_ended_at", "alert_messages", ["ended_at"], schema="ledger")
