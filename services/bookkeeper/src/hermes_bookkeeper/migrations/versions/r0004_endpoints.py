"""Which endpoint of a target each attempt went to."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0008"


def upgrade() -> None:
    """Add a column; nothing that the release before reads or writes is changed."""
    op.add_column("attempts", sa.Column("endpoint", sa.Text(), server_default="", nullable=False), schema="ledger")
