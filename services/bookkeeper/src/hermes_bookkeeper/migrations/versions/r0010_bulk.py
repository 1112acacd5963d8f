"""The bulk action that restarted a delivery."""

import sqlalchemy as sa
from alembic import op

revision = "r0010"
down_revision = "r0009"


def upgrade() -> None:
    """Add a column; the release before leaves it empty. Its index is made beside the work."""
    op.add_column("deliveries", sa.Column("bulk", sa.Text(), server_default="", nullable=False), schema="ledger")
