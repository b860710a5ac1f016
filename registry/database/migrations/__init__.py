"""Alembic's revisions of the registry's schema."""
