-- The history: ends of attempts and what operators did, newest first.
--
-- psql "$DATABASE_URL" -v env=development -f sql/events.sql
--
-- file_id     only this file's (default '': all)
-- kind        only this kind: attempt, requeue, cancel, expedite, pause, resume, state, boot, stop, adopt, migrate,
--             watch, forget (default '': all)
-- row_limit   most rows (default 100)
\ir _session.sql
\if :{?file_id} \else \set file_id '' \endif
\if :{?kind} \else \set kind '' \endif
\if :{?row_limit} \else \set row_limit 100 \endif
SELECT id, at, kind, outcome, next_status, file_id, server_id, attempt, started_at, reason, actor, token::text AS token
  FROM :"events"
 WHERE (:'file_id' = '' OR file_id = :'file_id') AND (:'kind' = '' OR kind = :'kind')
 ORDER BY id DESC
 LIMIT :'row_limit'::int;
