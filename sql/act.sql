-- The events of one act, newest first, and which of them can still be undone.
--
-- psql "$DATABASE_URL" -v env=development -v act=42 -f sql/act.sql
--
-- act   the number of its last event, as acts.sql gives it
--
-- kind         as acts.sql calls it: cleanup where an attempt was ended by one
-- undo         what would undo this event: requeue or resume; NULL: nothing would, or something has happened since
--
-- Read are at most the 100,000 events before its last one.
\ir _session.sql
WITH named AS MATERIALIZED (
    SELECT *, CASE WHEN kind <> 'attempt' THEN reason ELSE details ->> 'said' END AS said FROM :"events" WHERE id = :'act'::bigint
), alike AS (
    SELECT e.* FROM (SELECT * FROM :"events" WHERE id <= :'act'::bigint ORDER BY id DESC LIMIT 100000) AS e, named
     WHERE e.kind = named.kind AND e.actor IS NOT DISTINCT FROM named.actor
       AND nullif(CASE WHEN e.kind <> 'attempt' THEN e.reason ELSE e.details ->> 'said' END, '') IS NOT DISTINCT FROM nullif(named.said, '')
       AND (e.kind <> 'attempt' OR e.details @> '{"cleanup": true}')
), steps AS (
    SELECT alike.*, coalesce(pg_catalog.lag(at) OVER (ORDER BY id DESC) - at > interval '10 seconds', false) AS apart FROM alike
), members AS (
    SELECT steps.*, pg_catalog.bool_or(apart) OVER (ORDER BY id DESC) AS of_another FROM steps
)
SELECT m.id, m.at, CASE m.kind WHEN 'attempt' THEN 'cleanup' ELSE m.kind END AS kind, m.actor, m.outcome, m.next_status,
       m.file_id, m.server_id, m.attempt,
       CASE WHEN m.kind = 'pause' AND m.id = (SELECT max(e.id) FROM :"events" AS e WHERE e.server_id = m.server_id AND e.kind = 'pause')
                 AND EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope = m.server_id AND p.kind = 'pause') THEN 'resume'
            WHEN m.kind IN ('attempt', 'cancel') AND m.next_status IN ('failed', 'processing')
                 AND NOT EXISTS (SELECT FROM :"events" AS later
                                  WHERE later.file_id = m.file_id AND later.id > m.id
                                    AND NOT (later.kind = 'attempt' AND later.outcome = 'cancelled'
                                             AND later.attempt IS NOT DISTINCT FROM m.attempt)) THEN 'requeue' END AS undo
  FROM members AS m WHERE NOT m.of_another
 ORDER BY m.id DESC;
