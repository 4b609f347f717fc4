-- Keep what attempts have said: chunks of text, each at its place.
--
-- psql: for nodes; an operator has no use for it. logs.sql reads it.
--
-- chunks   a JSON array of {token, sequence, size, text, over}: sequence is the place of its first byte in all that the
--          attempt has said, size its length [bytes]. Of an attempt that says much the beginning and the end are kept: a
--          chunk with `over` takes the place of the one that began there; one without text only empties that.
--
-- A statement whose answer was lost is run again, and changes nothing more. Nothing is deleted: a node's role may not.
\ir _session.sql
WITH given AS MATERIALIZED (
    SELECT * FROM pg_catalog.jsonb_to_recordset(:'chunks'::jsonb)
        AS c (token uuid, sequence bigint, size integer, text text, over bigint)
), replaced AS (
    UPDATE :"logs" AS l
       SET sequence = coalesce(g.sequence, l.sequence), size = coalesce(g.size, 0), text = coalesce(g.text, ''),
           at = clock_timestamp()
      FROM given AS g WHERE l.token = g.token AND l.sequence = g.over
    RETURNING 1
), added AS (
    INSERT INTO :"logs" (token, sequence, size, text)
    SELECT token, sequence, size, text FROM given WHERE over IS NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM replaced) AS replaced;
