"""What came of asking a target for storage commitment of a delivery."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    """Add columns and a partial index, empty at first; the release before leaves the columns alone."""
    for name in ("commitment", "commitment_uid", "commitment_reason"):
        op.add_column("deliveries", sa.Column(name, sa.Text(), server_default="", nullable=False), schema="ledger")
    for column in (
        sa.Column("committed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("uncommitted", JSONB(), server_default="[]", nullable=False),
        sa.Column("commitment_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("deliveries", column, schema="ledger")
    op.create_index(
        "ix_deliveries_commitment",
        "deliveries",
        ["commitment", "updated_at"],
        schema="ledger",
        postgresql_where=sa.text("commitment <> ''"),
    )
