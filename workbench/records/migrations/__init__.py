"""Versions of the run store's tables, run by Alembic."""
