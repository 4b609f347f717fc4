-- One event in full: with the row as it was before, where an operator changed one.
--
-- psql "$DATABASE_URL" -v env=development -v event_id=42 -f sql/event.sql
--
-- event_id   number of the event, as events.sql gives it
\ir _session.sql
SELECT id, at, kind, outcome, next_status, file_id, server_id, boot::text AS boot, token::text AS token, attempt,
       started_at, ended_at, reason, actor, details
  FROM :"events" WHERE id = :'event_id'::bigint;
