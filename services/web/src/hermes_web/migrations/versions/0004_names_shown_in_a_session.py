"""When a session was told to show names of patients."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"


def upgrade() -> None:
    """Add a column that may be empty: the release before goes on on it."""
    column = sa.Column("unmasked_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("sessions", column, schema="accounts")
