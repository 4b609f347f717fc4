-- Whether an error speaks of the world: what the breaker is opened by. Reads only; one row.
--
-- psql "$DATABASE_URL" -v env=development -v error="ModuleNotFoundError: No module named 'yaml'" \
--      -v place='ledger.py in process' -f sql/breaker_evidence.sql
--
-- error, place   the identity of the error, as the attempts' events have it in details
-- most_files     different files that must have failed with it (default 5)
-- since_seconds  how far back failures count (default 3600)
--
-- opens          enough files, on two nodes or on the only one that claims, and no file completed since the first of them;
--                what failed before the breaker was last closed does not count
-- is_open        the breaker is open already, whatever for
-- ids            the files that failed with it, each once, as an array
-- since          when the first of these failures was written
-- nodes          the nodes that they failed on
--
-- Of the events only the newest 500 are read. Only the index of what has ended is asked for completions.
\ir _session.sql
\if :{?most_files} \else \set most_files 5 \endif
\if :{?since_seconds} \else \set since_seconds 3600 \endif
WITH alike AS MATERIALIZED (
    SELECT file_id, server_id, at
      FROM (SELECT * FROM :"events" ORDER BY id DESC LIMIT 500) AS newest
     WHERE kind = 'attempt' AND details ->> 'kind' = 'world'
       AND details ->> 'error' = :'error' AND coalesce(details ->> 'place', '') = :'place'
       AND at > clock_timestamp() - :'since_seconds'::float8 * interval '1 second'
       AND at > coalesce((SELECT at FROM :"events" WHERE kind <> 'attempt' AND kind = 'breaker' AND outcome = 'closed'
                           ORDER BY id DESC LIMIT 1), '-infinity')
), done AS MATERIALIZED (
    SELECT max(processing_completed_at) AS at
      FROM (SELECT processing_completed_at FROM :"files"
             WHERE processing_status IN ('completed', 'failed') AND processing_status = 'completed'
               AND processing_completed_at >= (SELECT min(at) FROM alike)
             ORDER BY processing_completed_at DESC LIMIT 1) AS last
), run AS MATERIALIZED (
    SELECT alike.* FROM alike, done WHERE done.at IS NULL OR alike.at > done.at
), claiming AS (
    SELECT count(*) AS nodes FROM :"nodes" AS n
     WHERE n.state = 'active' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
       AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id))
)
SELECT pg_catalog.count(DISTINCT run.file_id) >= :'most_files'::int
       AND (pg_catalog.count(DISTINCT run.server_id) >= 2 OR (SELECT nodes FROM claiming) <= 1) AS opens,
       EXISTS (SELECT FROM :"pauses" WHERE kind = 'breaker' AND closed_at IS NULL) AS is_open,
       coalesce(pg_catalog.array_agg(DISTINCT run.file_id) FILTER (WHERE run.file_id IS NOT NULL), '{}') AS ids,
       min(run.at) AS since,
       coalesce(pg_catalog.array_agg(DISTINCT run.server_id) FILTER (WHERE run.server_id IS NOT NULL), '{}') AS nodes
  FROM run;
