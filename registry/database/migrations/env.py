"""Run Alembic's revisions, on the given connection and in its transaction."""

from alembic import context
from sqlmodel import SQLModel

import onnxzoo.registry.database.tables  # noqa: F401  (fills the metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=True,
)
context.run_migrations()
