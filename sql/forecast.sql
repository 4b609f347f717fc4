-- When the queue will be empty, judged by what came and what ended in the last hour, in one row.
--
-- psql "$DATABASE_URL" -v env=development -f sql/forecast.sql
--
-- Files come in batches as often as one by one. One batch that is over says nothing of the future: what came besides is
-- the rate. Two batches are a rate, and so is a stream, in the shortest time that holds 300 files. Of several rates that
-- can be meant the highest counts, so that a growing queue is not called emptying.
-- Nodes end fewer files than they could while the queue is empty or paused, or before another node came: what ended since
-- then is their rate, but never more than their number and the time that a file takes allow; these alone count where
-- less than 100 files have ended since then.
--
-- queued, due               files in the queue; those of them that may be claimed now: the others wait for a retry
-- came_minute, came_five_minutes, came_quarter_hour      files that came into the queue in that time; a retry does not come again
-- ended_minute, ended_five_minutes, ended_quarter_hour   files that completed or failed in it
-- came_per_minute, ended_per_minute   the rates that the forecast goes by
-- change_per_minute         by how many files a minute the queue changes; below 0 it shrinks
-- verdict                   empty, emptying, growing, steady (too little difference to tell), standing (nobody claims),
--                           unknown (too early to tell)
-- empty_in_seconds          of a queue that is emptying: when it will be empty
--
-- At most the newest 10,000 files of each state are read, however much has ended.
\ir _session.sql
WITH clock AS MATERIALIZED (
    SELECT now() AS now
), ended AS MATERIALIZED (
    SELECT id::text AS id, processing_queued_at::timestamptz AS queued_at, processing_started_at::timestamptz AS started_at,
           processing_completed_at::timestamptz AS ended_at, coalesce(processing_failures, 0) AS failures
      FROM :"files"
     WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
       AND processing_completed_at >= now() - interval '1 hour' AND processing_completed_at <= now()
     ORDER BY processing_completed_at DESC LIMIT 10000
), held AS MATERIALIZED (
    SELECT f.id::text AS id, f.processing_queued_at::timestamptz AS queued_at, f.processing_started_at::timestamptz AS started_at,
           coalesce(f.processing_failures, 0) AS failures, coalesce(n.lease_until >= clock_timestamp(), false) AS alive
      FROM :"files" AS f
      LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id AND f.processing_token IS NOT NULL
     WHERE f.processing_status = 'processing' AND f.deleted IS NOT TRUE
), waiting AS MATERIALIZED (
    SELECT id::text AS id, processing_queued_at::timestamptz AS queued_at, coalesce(processing_failures, 0) AS failures
      FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at >= now() - interval '1 hour'
     ORDER BY processing_queued_at DESC, id DESC LIMIT 10000
), queue AS MATERIALIZED (
    SELECT counts.*,
           (SELECT count(*) FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL) AS alive,
           (SELECT count(*) FROM :"nodes" AS n
             WHERE n.state = 'active' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
               AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id))
               AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope = ' breaker' AND p.closed_at IS NULL)) AS claiming,
           (SELECT max(started_at) FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL) AS joined
      FROM (SELECT count(*) AS queued, count(*) FILTER (WHERE processing_queued_at > now()) AS later,
                   min(processing_queued_at)::timestamptz AS oldest
              FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE) AS counts
), arrived AS MATERIALIZED (
    -- A retry is due later, and came when its first attempt began at the latest.
    SELECT at FROM (
           SELECT CASE failures WHEN 0 THEN queued_at
                  ELSE coalesce((SELECT min(e.started_at) FROM :"events" AS e WHERE e.file_id = f.id AND e.kind = 'attempt'), queued_at)
                  END AS at
             FROM (SELECT id, queued_at, failures FROM ended UNION ALL SELECT id, queued_at, failures FROM held
                   UNION ALL SELECT id, queued_at, failures FROM waiting) AS f
            WHERE queued_at >= now() - interval '1 hour') AS dated
     WHERE at >= now() - interval '1 hour' AND at <= now()
), minutes AS MATERIALIZED (
    -- The busy minutes: those with at least a quarter of what came in the busiest one.
    SELECT * FROM (
           SELECT floor(extract(epoch FROM clock.now - at) / 60)::int AS minute, count(*) AS files, min(at) AS first_at,
                  max(at) AS last_at, max(count(*)) OVER () AS most
             FROM arrived, clock GROUP BY minute) AS counted
     WHERE files * 4 >= most
), batches AS MATERIALIZED (
    SELECT min(minute) AS newest, min(first_at) AS first_at, max(last_at) AS last_at, sum(files)::bigint AS files
      FROM (SELECT *, count(*) FILTER (WHERE apart) OVER (ORDER BY minute) AS batch
              FROM (SELECT *, minute - lag(minute) OVER (ORDER BY minute) > 2 AS apart FROM minutes) AS gaps) AS numbered
     GROUP BY batch
), last AS MATERIALIZED (
    -- The newest batch, and whether it is over.
    SELECT batches.*, (SELECT count(*) FROM batches) AS batches, (SELECT min(at) FROM arrived) AS since,
           newest >= 3 OR now - last_at > greatest(interval '15 s', 10 * (last_at - first_at) / greatest(files - 1, 1))
           AS over
      FROM batches, clock ORDER BY newest LIMIT 1
), coming AS MATERIALIZED (
    SELECT seconds, count(a.at) AS files,
           least(seconds, extract(epoch FROM clock.now - last.first_at))::float8 AS length
      FROM clock CROSS JOIN last CROSS JOIN (VALUES (300), (900), (3600)) AS lengths (seconds)
      LEFT JOIN arrived AS a ON a.at >= greatest(clock.now - seconds * interval '1 second', last.first_at)
     GROUP BY seconds, clock.now, last.first_at
), came AS MATERIALIZED (
    SELECT 60 * chosen.files / nullif(chosen.seconds, 0) AS per_minute, chosen.files
      FROM (SELECT last.*, stream.files AS streamed, stream.length, clock.now, (SELECT count(*) FROM arrived) AS everything
              FROM clock, last, (SELECT * FROM coming WHERE files >= 300 OR seconds = 3600 ORDER BY seconds LIMIT 1) AS stream
           ) AS known
     CROSS JOIN LATERAL (
           -- The fastest of what can be meant: a queue that grows is not to be called emptying.
           SELECT possible.files::float8 AS files, possible.seconds::float8 AS seconds FROM (
                  -- One batch that is over: what came besides.
                  SELECT everything - known.files AS files, extract(epoch FROM (now - since) - (last_at - first_at)) AS seconds
                   WHERE batches = 1 AND over
                   UNION ALL
                  -- Several: all but the newest, from one's beginning to the other's; fewer when none has come for long.
                  SELECT everything - known.files, greatest(extract(epoch FROM first_at - since),
                         extract(epoch FROM now - since) * (everything - known.files) / everything) WHERE batches > 1
                   UNION ALL
                  -- One that goes on: its own rate, unless it is too young to have one.
                  SELECT CASE WHEN batches = 1 THEN streamed ELSE streamed - 2 * sqrt(streamed) END, length
                   WHERE NOT over AND (now - first_at >= interval '1 minute')) AS possible
            ORDER BY possible.files / nullif(possible.seconds, 0) DESC NULLS LAST LIMIT 1) AS chosen
     UNION ALL
    SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM last)
), busy AS MATERIALIZED (
    -- Since when every node has had enough to do: the newest of what speaks for an idle moment before it.
    SELECT greatest(clock.now - interval '1 hour', queue.joined,
                    (SELECT max(started_at) FROM (SELECT queued_at, started_at FROM ended
                                                  UNION ALL SELECT queued_at, started_at FROM held) AS claimed
                      WHERE started_at < queued_at + interval '1 second'),
                    (SELECT max(ended_at) FROM (
                            SELECT ended_at, ended_at - lag(ended_at) OVER (ORDER BY ended_at) AS gap,
                                   (max(ended_at) OVER () - min(ended_at) OVER ()) / greatest(count(*) OVER () - 1, 1) AS usual
                              FROM ended) AS gaps
                      WHERE gap > greatest(interval '90 s', 5 * usual)),
                    (SELECT min(ended_at) FROM ended HAVING count(*) = 10000)) AS since
      FROM clock, queue
), ending AS MATERIALIZED (
    SELECT seconds, count(e.ended_at) AS files,
           least(seconds, extract(epoch FROM clock.now - busy.since))::float8 AS length
      FROM clock CROSS JOIN busy CROSS JOIN (VALUES (60), (300), (900), (3600)) AS lengths (seconds)
      LEFT JOIN ended AS e ON e.ended_at >= greatest(clock.now - seconds * interval '1 second', busy.since)
     GROUP BY seconds, clock.now, busy.since
), went AS MATERIALIZED (
    SELECT CASE WHEN measured.files >= 100 THEN least(measured.rate, able.rate) ELSE coalesce(able.rate, measured.rate) END AS per_minute,
           CASE WHEN measured.files >= 100 THEN measured.files ELSE greatest(able.files, 1) END AS files
      FROM (SELECT files, (60 * nullif(files, 0) / nullif(length, 0))::float8 AS rate
              FROM ending WHERE files >= 300 OR seconds = 3600 ORDER BY seconds LIMIT 1) AS measured
     CROSS JOIN (SELECT 60 * nullif(greatest((SELECT count(*) FROM held WHERE alive), (SELECT claiming FROM queue)), 0)
                        / nullif(avg(extract(epoch FROM ended_at - started_at))::float8, 0) AS rate, count(*) AS files
                   FROM (SELECT ended_at, started_at FROM ended WHERE isfinite(started_at) ORDER BY ended_at DESC LIMIT 200) AS newest
                ) AS able
), judged AS (
    SELECT queue.queued, queue.queued - queue.later AS due, came.per_minute AS came, went.per_minute AS went,
           -- Twice the error of the difference: each rate is as sure as the root of what was counted.
           2 * sqrt(coalesce(came.per_minute ^ 2 / nullif(came.files, 0), 0) + went.per_minute ^ 2 / went.files) AS doubt,
           came.files > 0 AS coming,
           -- Both halves of the last minute at this rate: more comes now than the nodes end.
           2 * least((SELECT count(*) FROM arrived, clock WHERE at >= now - interval '30 s'),
                     (SELECT count(*) FROM arrived, clock WHERE at < now - interval '30 s' AND at >= now - interval '60 s'))
           > went.per_minute AS rising,
           queue.claiming = 0 AND (queue.alive > 0
                                   OR NOT EXISTS (SELECT FROM ended, clock WHERE ended_at >= now - interval '5 minutes'))
           OR NOT EXISTS (SELECT FROM held) AND queue.oldest < clock.now - interval '1 minute'
              AND NOT EXISTS (SELECT FROM ended, clock WHERE ended_at >= now - interval '1 minute') AS standing
      FROM clock, queue, went LEFT JOIN came ON true
)
SELECT queued, due,
       (SELECT count(*) FROM arrived, clock WHERE at >= now - interval '1 minute') AS came_minute,
       (SELECT count(*) FROM arrived, clock WHERE at >= now - interval '5 minutes') AS came_five_minutes,
       (SELECT count(*) FROM arrived, clock WHERE at >= now - interval '15 minutes') AS came_quarter_hour,
       (SELECT count(*) FROM ended, clock WHERE ended_at >= now - interval '1 minute') AS ended_minute,
       (SELECT count(*) FROM ended, clock WHERE ended_at >= now - interval '5 minutes') AS ended_five_minutes,
       (SELECT count(*) FROM ended, clock WHERE ended_at >= now - interval '15 minutes') AS ended_quarter_hour,
       came AS came_per_minute, CASE WHEN verdict = 'standing' THEN 0 ELSE went END AS ended_per_minute,
       came - CASE WHEN verdict = 'standing' THEN 0 ELSE went END AS change_per_minute, verdict,
       CASE verdict WHEN 'empty' THEN 0 WHEN 'emptying' THEN 60 * due / (went - came) END::float8 AS empty_in_seconds,
       clock_timestamp() AS as_of
  FROM judged
 CROSS JOIN LATERAL (
       SELECT CASE WHEN due = 0 THEN 'empty' WHEN standing THEN 'standing' WHEN came IS NULL OR went IS NULL THEN 'unknown'
                   WHEN coming AND abs(went - came) <= doubt OR came < went AND rising THEN 'steady'
                   WHEN came < went THEN 'emptying' ELSE 'growing' END AS verdict) AS judge;
