"""Alembic's environment: it migrates over the connection that `sealserve` hands it."""

from __future__ import annotations

from alembic import context

from sealserve.keyservice.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
