"""What came of asking a target for storage commitment of a delivery."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    """Add columns; the release before leaves them empty. Their index is made beside the work."""
    for name in ("commitment", "commitment_uid", "commitment_reason"):
        op.add_column("deliveries", sa.Column(name, sa.Text(), server_default="", nullable=False), schema="ledger")
    for column in (
        sa.Column("committed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("uncommitted", JSONB(), server_default="[]", nullable=False),
        sa.Column("commitment_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("deliveries", column, schema="ledger")
