-- What counters and histograms grow by: the attempts that have ended since a moment, counted by how they ended and
-- how long they took. What `/metrics` reads at each scrape.
--
-- psql "$DATABASE_URL" -v env=development -v since="$(date -d '-1 hour' -Is)" -f sql/counted.sql
--
-- since    count what ended from then on (default '': from now on, so nothing yet)
-- bounds   upper bounds of a histogram's buckets [s], ascending
--
-- settled   everything that ended before it is visible: the next call may begin there and add to what is `final` here
-- held      files in processing now
-- measure   run: one for each attempt, from claim to end ; wait: one for each file that ended, from the queue to its claim
-- outcome   completed, or what went wrong; failed: an older processor's, which told nobody more
-- next      the state that followed
-- cleaned   a cleanup ended it
-- bucket    0: at most the first bound ... the number of bounds: more than the last one ; -1: it is not known
--
-- Prometheus wants counters that never fall, and a count of rows by time does fall: files are requeued, deleted, pruned.
-- So nobody counts the table. Whoever is scraped keeps the sums and adds what has ended since; a restart begins at zero,
-- as Prometheus expects. A call reads the end of the index of ended files and the newest events, at ten million rows as
-- at ten thousand: what ended since `settled` of the last call.
--
-- A completion's time is set before its transaction commits, which may wait for a standby. Until then its claim is seen
-- instead: before the oldest claim that is held now, nothing can appear any more. A claim older than ten minutes does not
-- hold the others up: if it completes this very moment, in a commit that is not seen yet, it is not counted.
\ir _session.sql
\if :{?since} \else \set since '' \endif
\if :{?bounds} \else \set bounds '{0.1,0.5,1,5,15,60,300,900,3600,14400}' \endif
-- now(), the begin of the transaction: older than the snapshot that the counts are taken from. `since` stands in each
-- condition itself, or the planner would not know that it is recent, and read the whole table.
WITH held AS MATERIALIZED (
    SELECT count(*) AS files, min(processing_started_at)::timestamptz AS oldest
      FROM :"files" WHERE processing_status = 'processing'
), edges AS MATERIALIZED (
    SELECT greatest(since, now() - interval '10 minutes', least(now(), held.oldest)) AS settled, held.files AS held
      FROM held, (SELECT coalesce(nullif(:'since', '')::timestamptz, now()) AS since) AS begin
), ended AS MATERIALIZED (
    SELECT f.id::text AS id, f.processing_status AS status, coalesce(f.processing_attempt, 0) AS attempt,
           greatest(f.processing_queued_at, f.processing_arrived_at)::timestamptz AS queued_at, f.processing_started_at::timestamptz AS started_at,
           f.processing_completed_at::timestamptz AS ended_at
      FROM :"files" AS f
     WHERE f.processing_status IN ('completed', 'failed')
       AND f.processing_completed_at >= coalesce(nullif(:'since', '')::timestamptz, now())
), noted AS MATERIALIZED (
    SELECT e.kind, e.file_id, coalesce(e.attempt, 0) AS attempt, e.outcome, e.next_status AS next, e.started_at,
           CASE e.kind WHEN 'attempt' THEN e.at ELSE e.ended_at END AS ended_at,
           coalesce(e.details @> '{"cleanup": true}', false) AS cleaned
      FROM :"events" AS e
     WHERE e.at >= coalesce(nullif(:'since', '')::timestamptz, now())
       -- A completion that was requeued before it was counted: the event is all that is left of it.
       AND (e.kind = 'attempt' OR e.kind = 'requeue' AND e.outcome = 'completed'
            AND e.ended_at >= coalesce(nullif(:'since', '')::timestamptz, now())
            -- Cancelled in the queue: it has failed without an attempt.
            OR e.kind = 'cancel' AND e.outcome = 'queued')
), measured AS (
    SELECT 'run' AS measure, outcome, CASE kind WHEN 'attempt' THEN next ELSE 'completed' END AS next, cleaned, ended_at,
           extract(epoch FROM ended_at - started_at)::float8 AS seconds
      FROM noted WHERE kind <> 'cancel'
    UNION ALL
    SELECT 'run', status, status, false, ended_at, extract(epoch FROM ended_at - started_at)::float8
      FROM ended WHERE status = 'completed'
    UNION ALL
    SELECT 'run', status, status, false, ended_at, extract(epoch FROM ended_at - started_at)::float8
      FROM ended
     WHERE status = 'failed' AND NOT EXISTS (
           SELECT FROM noted WHERE noted.file_id = ended.id AND noted.attempt = ended.attempt AND noted.next = 'failed')
    UNION ALL
    SELECT 'wait', status, status, false, ended_at, extract(epoch FROM started_at - queued_at)::float8
      FROM ended WHERE started_at IS NOT NULL AND queued_at IS NOT NULL
), counted AS (
    -- width_bucket() takes a bound for the begin of its bucket, Prometheus for its end: half a microsecond tells them apart.
    SELECT measure, outcome, next, cleaned, ended_at < (SELECT settled FROM edges) AS final,
           CASE WHEN seconds IS NULL THEN -1
                ELSE pg_catalog.width_bucket(greatest(seconds, 0) - 0.0000005, :'bounds'::float8[]) END AS bucket,
           count(*) AS attempts, coalesce(sum(greatest(seconds, 0)), 0) AS seconds
      FROM measured
     GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT edges.settled, edges.held, counted.*
  FROM edges LEFT JOIN counted ON true
 ORDER BY measure, outcome, next, cleaned, final, bucket;
