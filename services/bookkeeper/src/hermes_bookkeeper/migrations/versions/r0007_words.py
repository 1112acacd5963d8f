"""The words of a series, as a function; indexes that nothing reads are gone.

The indexes of this release are made beside the work (``adapters/indexes.py``), and the partitions of the events by
``adapters/partitions.py``: neither needs more of a lock than what the release before can wait for.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0007"
down_revision = "r0002"

SERIES_WORDS = """
CREATE OR REPLACE FUNCTION ledger.series_words(tags jsonb, patient text, accession text, aet text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 AS $body$
    SELECT pg_catalog.to_tsvector('pg_catalog.simple', left(translate(
        patient || ' ' || accession || ' ' || aet || ' ' || coalesce((
            SELECT string_agg(value.value, ' ')
            FROM jsonb_each(tags) AS tag, jsonb_array_elements_text(
                CASE jsonb_typeof(tag.value) WHEN 'array' THEN tag.value ELSE '[]' END) AS value
            WHERE value.value ~ '[^-0-9.,+ ]'
        ), ''), $marks$!"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~$marks$, repeat(' ', 32)), 200000))
$body$"""


def upgrade() -> None:
    """Add a function; drop two indexes over every event that no release has ever read."""
    op.execute(sa.text(SERIES_WORDS))
    for name in ("ix_events_series_uid", "ix_events_type_time"):
        op.drop_index(name, table_name="events", schema="ledger", if_exists=True)
