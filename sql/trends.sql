-- What became of the files in each stretch of time: how many ended and failed, and how long they waited and ran.
--
-- psql "$DATABASE_URL" -v env=development -f sql/trends.sql
--
-- since_seconds    how far back (default 3600)
-- bucket_seconds   length of a stretch (default 60)
-- before_seconds   ended_before: what ended in the same stretch so long before (default 86400: yesterday)
--
-- A row for each stretch, also where nothing ended, at most the newest 10,000; the newest goes on until now, the oldest
-- began before the time that is asked for. Counts come from the index of what has ended alone. Waits and runs are those of
-- a sample, at most 40 files of each fifth of a stretch, so that a busy week costs no more rows of the table than a quiet one.
\ir _session.sql
\if :{?since_seconds} \else \set since_seconds 3600 \endif
\if :{?bucket_seconds} \else \set bucket_seconds 60 \endif
\if :{?before_seconds} \else \set before_seconds 86400 \endif
WITH newest AS MATERIALIZED (
    SELECT floor(date_part('epoch', now()) / :'bucket_seconds'::float8)::bigint AS number,
           floor((date_part('epoch', now()) - :'since_seconds'::float8) / :'bucket_seconds'::float8)::bigint AS oldest
), stretches AS MATERIALIZED (
    SELECT s.number, to_timestamp(s.number * :'bucket_seconds'::float8) AS begins
      FROM newest, pg_catalog.generate_series(greatest(newest.oldest, newest.number - 9999),
                                              newest.number) AS s (number)
), counted AS (
    SELECT floor(date_part('epoch', processing_completed_at) / :'bucket_seconds'::float8)::bigint AS number, count(*) AS ended,
           count(*) FILTER (WHERE processing_status = 'failed') AS failed
      FROM :"files"
     WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
       AND processing_completed_at >= (SELECT min(begins) FROM stretches) AND processing_completed_at <= now()
     GROUP BY 1
), earlier AS (
    SELECT floor((date_part('epoch', processing_completed_at) + :'before_seconds'::float8) / :'bucket_seconds'::float8)::bigint AS number,
           count(*) AS ended
      FROM :"files"
     WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
       AND processing_completed_at >= (SELECT min(begins) FROM stretches) - :'before_seconds'::float8 * interval '1 second'
       AND processing_completed_at <= now() - :'before_seconds'::float8 * interval '1 second'
     GROUP BY 1
), measured AS (
    SELECT s.number, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY f.wait) AS wait,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY f.run) AS run
      FROM stretches AS s JOIN counted ON counted.number = s.number
     CROSS JOIN generate_series(0, 4) AS fifth
     CROSS JOIN LATERAL (
           SELECT greatest(extract(epoch FROM processing_started_at) - extract(epoch FROM greatest(processing_queued_at, processing_arrived_at)), 0)::float8 AS wait,
                  greatest(extract(epoch FROM processing_completed_at) - extract(epoch FROM processing_started_at), 0)::float8 AS run
             FROM :"files"
            WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
              AND processing_completed_at >= s.begins + fifth * :'bucket_seconds'::float8 * interval '0.2 s'
              AND processing_completed_at < s.begins + (fifth + 1) * :'bucket_seconds'::float8 * interval '0.2 s'
              AND isfinite(processing_started_at) AND isfinite(processing_queued_at)
            ORDER BY processing_completed_at LIMIT 40) AS f
     GROUP BY s.number
)
SELECT s.begins AS bucket_start, coalesce(counted.ended, 0) AS ended, coalesce(counted.failed, 0) AS failed,
       coalesce(earlier.ended, 0) AS ended_before, wait[1] AS wait_p50_seconds, wait[2] AS wait_p95_seconds,
       run[1] AS run_p50_seconds, run[2] AS run_p95_seconds
  FROM stretches AS s
  LEFT JOIN counted ON counted.number = s.number
  LEFT JOIN earlier ON earlier.number = s.number
  LEFT JOIN measured ON measured.number = s.number
 ORDER BY s.number;
