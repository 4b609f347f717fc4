-- The history further back: as events.sql, from the last event that one has read.
--
-- psql "$DATABASE_URL" -v env=development -v before=1200 -f sql/events_before.sql
--
-- before              only events before this one, by its id (default '': from the newest on)
-- file_id, kind       as in events.sql
-- server_id           only this server's (default '': all)
-- row_limit           most rows (default 100)
\ir _session.sql
\if :{?before} \else \set before '' \endif
\if :{?file_id} \else \set file_id '' \endif
\if :{?kind} \else \set kind '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?row_limit} \else \set row_limit 100 \endif
SELECT id, at, kind, outcome, next_status, file_id, server_id, attempt, started_at, reason, actor, token::text AS token
  FROM :"events"
 WHERE id < coalesce(nullif(:'before', '')::bigint, 9223372036854775807)
   AND (:'file_id' = '' OR file_id = :'file_id') AND (:'kind' = '' OR kind = :'kind')
   AND (:'server_id' = '' OR server_id = :'server_id')
 ORDER BY id DESC
 LIMIT :'row_limit'::int;
