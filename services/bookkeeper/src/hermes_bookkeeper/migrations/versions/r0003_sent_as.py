"""What was sent instead of what was received, of each instance at each target."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0008"


def upgrade() -> None:
    """Add columns with defaults; nothing that the release before reads or writes is changed."""
    names = ("sop_instance_uid", "series_uid", "study_uid", "transfer_syntax_uid", "digest")
    for name in (f"sent_{name}" for name in names):
        column = sa.Column(name, sa.Text(), server_default="", nullable=False)
        op.add_column("instance_deliveries", column, schema="ledger")
