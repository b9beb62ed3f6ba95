"""Deliveries to webhooks, and the webhook of a job."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PENDING = sa.text("due IS NOT NULL")


def upgrade() -> None:
    """Add the columns of jobs, and make the table of deliveries."""
    op.add_column("archive_jobs", sa.Column("webhook", sa.Text))
    op.add_column("archive_jobs", sa.Column("reported", sa.Text))
    op.create_table(
        "archive_deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("webhook", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("due", sa.Float(53)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("delivered_at", sa.Float(53)),
        sa.Column("body", sa.Text, nullable=False),
    )
    # Without those that are over, which are most.
    op.create_index(
        "archive_deliveries_pending",
        "archive_deliveries",
        ["channel", "webhook", "due"],
        postgresql_where=PENDING,
        sqlite_where=PENDING,
    )
    for name, columns in {
        "archive_deliveries_by_job": ["job"],
        "archive_deliveries_by_age": ["at"],
    }.items():
        op.create_index(name, "archive_deliveries", columns)
