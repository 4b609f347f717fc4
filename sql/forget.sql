-- Forget nodes that are gone: drop the rows of those that have stopped or whose lease has run out, and that hold nothing.
--
-- psql "$DATABASE_URL" -v env=development -v server_ids='{node-a}' -v actor=me -v reason='spot machine' -f sql/forget.sql
--
-- server_ids      the nodes, as an array literal
-- actor, reason   who and why, for the history, which keeps what they were
--
-- Answers those that are forgotten. A node that is there registers again with its next start, under any name.
\ir _session.sql
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH gone AS (
    DELETE FROM :"nodes" AS n
     WHERE n.server_id = ANY (:'server_ids'::text[])
       AND (n.stopped_at IS NOT NULL OR n.lease_until < clock_timestamp())
       AND NOT EXISTS (SELECT FROM :"files" AS f
                        WHERE f.processing_status = 'processing' AND f.processing_server_id = n.server_id)
    RETURNING n.server_id, n.boot, n.host, n.pid, n.version, n.started_at, n.beat_at
), noted AS (
    INSERT INTO :"events" (kind, server_id, boot, started_at, reason, actor, details)
    SELECT 'forget', server_id, boot, started_at, :'reason', :'actor',
           pg_catalog.jsonb_build_object('host', host, 'pid', pid, 'version', version, 'beat_at', beat_at)
      FROM gone
)
SELECT server_id FROM gone ORDER BY server_id;
