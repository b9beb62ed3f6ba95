"""A table of the calls by which jobs were enqueued, to run them again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "archive_calls",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
