-- Note which files a watch queues, in the transaction that queues them: whoever watches after a restart knows them.
--
-- psql: `opskit enqueue --watch` notes what it has queued; nobody runs it by hand.
--
-- watched  [[path, size, stamp], ...] as JSON
-- reason   what was watched
-- actor    who watches
\ir _session.sql
INSERT INTO :"events" (kind, outcome, next_status, reason, actor, details)
VALUES ('watch', 'queued', 'queued', :'reason', :'actor', pg_catalog.jsonb_build_object('files', :'watched'::jsonb));
