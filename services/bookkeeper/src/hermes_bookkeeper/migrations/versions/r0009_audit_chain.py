"""The chain of the audit: the place of each row, and the head (ADR-0034)."""

import sqlalchemy as sa
from alembic import op

revision = "r0009"
down_revision = "r0008"


def upgrade() -> None:
    """Add columns and a table. What is there, and what the release before writes, is taken over beside the work."""
    op.add_column("audit", sa.Column("sequence", sa.BigInteger(), nullable=True), schema="ledger")
    for name in ("previous", "hash", "key_id"):
        op.add_column("audit", sa.Column(name, sa.Text(), server_default="", nullable=False), schema="ledger")
    op.add_column(
        "audit", sa.Column("adopted", sa.Boolean(), server_default=sa.false(), nullable=False), schema="ledger"
    )
    op.create_unique_constraint("uq_audit_sequence", "audit", ["sequence"], schema="ledger")
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("adopt_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("genesis", sa.Text(), nullable=False),
        sa.Column("genesis_key_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
        schema="ledger",
    )
