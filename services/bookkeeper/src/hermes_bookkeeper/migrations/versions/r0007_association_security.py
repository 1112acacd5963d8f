"""How an association was secured, who it was for, and what implementation the peer named."""

import sqlalchemy as sa
from alembic import op

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    """Add columns; the release before leaves them empty."""
    for name in ("tls", "certificate", "identity", "implementation"):
        op.add_column("associations", sa.Column(name, sa.Text(), server_default="", nullable=False), schema="ledger")
