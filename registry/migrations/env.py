"""What Alembic runs: the revisions, on the connection and in the transaction it was given."""

from alembic import context

from onnxzoo.registry.tables import SQLModel

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=True,
)
context.run_migrations()
