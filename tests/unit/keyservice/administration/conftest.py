"""Stores in a database of the test's own, SQLite or PostgreSQL (`tests/support/stores.py`)."""

from __future__ import annotations

from stores import place, postgres, postgres_place, sqlite_place

__all__ = ["place", "postgres", "postgres_place", "sqlite_place"]
