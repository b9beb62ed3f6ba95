"""Alembic's environment: how the archive's tables are made, and changed by later versions."""
