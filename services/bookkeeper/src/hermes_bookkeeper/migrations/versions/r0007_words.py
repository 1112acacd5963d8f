"""The words of a series, kept by a trigger, so also where the release before writes; indexes that nothing reads go.

The indexes of this release are made beside the work (``adapters/indexes.py``), and so are the words of the series that
are there; the parts of the events are made by ``adapters/partitions.py``. None of it holds up the release before.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0007"
down_revision = "r0008"

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

KEEP_WORDS = """
CREATE OR REPLACE FUNCTION ledger.keep_series_words() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.words := ledger.series_words(NEW.tags, NEW.patient_id, NEW.accession_number, NEW.calling_aet);
    RETURN NEW;
END
$body$"""
WORDS_KEPT = """
CREATE OR REPLACE TRIGGER keep_words BEFORE INSERT OR UPDATE OF tags, patient_id, accession_number, calling_aet, words
ON ledger.series FOR EACH ROW EXECUTE FUNCTION ledger.keep_series_words()"""


def upgrade() -> None:
    """Add a column and what fills it; drop two indexes over every event that no release has ever read."""
    op.add_column("series", sa.Column("words", postgresql.TSVECTOR(), nullable=True), schema="ledger")
    for statement in (SERIES_WORDS, KEEP_WORDS, WORDS_KEPT):
        op.execute(statement)
    for name in ("ix_events_series_uid", "ix_events_type_time"):
        op.drop_index(name, table_name="events", schema="ledger", if_exists=True)
