"""How alembic runs the migrations: in the transaction of the connection that it is given."""

from alembic import context

from hermes_common import ledger

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=ledger.metadata,
    version_table_schema=ledger.SCHEMA,
    include_schemas=True,
)
context.run_migrations()
