"""Bringing the schema ``ledger`` up to date, at the start of every bookkeeper."""

import logging

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from hermes_bookkeeper.adapters.books import LOCK
from hermes_bookkeeper.adapters.database import connect_arguments, translated
from hermes_bookkeeper.adapters.partitions import PATIENCE
from hermes_bookkeeper.errors import DatabaseUnavailableError
from hermes_common import ledger

log = logging.getLogger(__name__)


def migrate(url: SecretStr) -> None:
    """Make or upgrade the tables, in one transaction and one process at a time.

    A schema that a newer release has upgraded is left as it is: releases only add to it. Raises
    :class:`DatabaseUnavailableError`, also where somebody reads a table for long that a column is added to: whoever
    comes meanwhile to read or write it would wait behind us.
    """
    arguments = connect_arguments(url, "bookkeeper-migrate")
    engine = create_engine(
        make_url("postgresql+psycopg2://"), creator=lambda: psycopg2.connect(**arguments), poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
            upgrade(connection)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg2.Error):
            raise DatabaseUnavailableError(f"the tables cannot be made: {translated(error.orig)}") from error
        raise
    except psycopg2.Error as error:
        raise DatabaseUnavailableError(str(translated(error))) from error
    finally:
        engine.dispose()


def upgrade(connection: Connection) -> None:
    """Upgrade the schema in the transaction of ``connection``."""
    # Made only where it is missing: the right to make schemas may be an administrator's, who then has made it.
    there = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": ledger.SCHEMA})
    if there.first() is None:
        connection.execute(text(f"CREATE SCHEMA {ledger.SCHEMA}"))
    config = Config()
    config.set_main_option("script_location", "hermes_bookkeeper:migrations")
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table_schema": ledger.SCHEMA})
    known = {revision.revision for revision in script.walk_revisions()}
    if unknown := set(context.get_current_heads()) - known:
        log.warning("the tables are of a newer release (%s); they are used as they are", ", ".join(sorted(unknown)))
        return
    command.upgrade(config, "head")
