-- What watches have queued so far: events of lists of files, each as [path, size, stamp].
--
-- psql "$DATABASE_URL" -v env=development -v after=0 -f sql/watched.sql
--
-- after   only what was noted after this event, by its id (default 0)
\ir _session.sql
\if :{?after} \else \set after 0 \endif
SELECT id, details -> 'files' AS files FROM :"events"
 WHERE kind <> 'attempt' AND kind = 'watch' AND id > :'after'::bigint
 ORDER BY id;
