-- The files that a node's newest attempts failed: the charge that quarantine.sql judges. One row, also of nothing.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -f sql/bad_attempts.sql
--
-- server_id    the node
-- row_limit    how many of its newest bad attempts (default 100); of its newest 200 events, no more are read
--
-- ids     the files that it failed, each once, as an array
-- since   when the first of these attempts began ; again: when the last one did
--
-- Only attempts that raised or crashed, of the last hour, and begun after the node was last cleared. A rejected file is
-- the file's fault, a timeout may be; an orphan or an interrupted attempt says nothing of the node's health.
-- The row comparison keeps the planner to the index (server_id, id): with an equality it may walk the newest events of
-- all nodes backwards, and a node whose last ones are old would read the whole history.
\ir _session.sql
\if :{?row_limit} \else \set row_limit 100 \endif
SELECT coalesce(pg_catalog.array_agg(DISTINCT bad.file_id), '{}') AS ids, min(bad.started_at) AS since, max(bad.started_at) AS again
  FROM (SELECT e.file_id, e.started_at
          FROM (SELECT id, server_id, kind, outcome, file_id, started_at, at
                  FROM :"events"
                 WHERE (server_id, id) <= (:'server_id', 9223372036854775807)
                 ORDER BY server_id DESC, id DESC
                 LIMIT 200) AS e
         WHERE e.server_id = :'server_id' AND e.kind = 'attempt' AND e.outcome IN ('raised', 'crashed')
           AND e.at > clock_timestamp() - interval '1 hour'
           AND e.started_at > coalesce((SELECT cleared_at FROM :"nodes" WHERE server_id = :'server_id'), '-infinity')
         ORDER BY e.id DESC
         LIMIT :'row_limit'::int) AS bad;
