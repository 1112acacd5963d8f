"""Studies, what was decided on them, and how long series had to be quiet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Add tables and columns; nothing that the release before reads or writes is changed."""
    op.create_table(
        "studies",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("series", sa.Integer(), server_default="0", nullable=False),
        sa.Column("instances", sa.Integer(), server_default="0", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("rules_revision", sa.Integer(), nullable=True),
        sa.Column("problems", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_uid", name=op.f("pk_studies")),
        schema="ledger",
    )
    op.create_index("ix_studies_state_opened_at", "studies", ["state", "opened_at"], schema="ledger")
    op.create_table(
        "study_decisions",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("decision", postgresql.JSONB(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_study_decisions")),
        schema="ledger",
    )
    op.create_index("ix_study_decisions_study_uid", "study_decisions", ["study_uid"], schema="ledger")
    for name in ("quiet_period", "quiet_for", "shortened_by"):
        op.add_column("batches", sa.Column(name, sa.Text(), server_default="", nullable=False), schema="ledger")
