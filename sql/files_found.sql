-- The files that a search finds, in the whole table: names that are the text first, then those that begin with it, then those that contain it.
--
-- psql "$DATABASE_URL" -v env=development -v search=invoice -f sql/files_found.sql
--
-- search      only files whose name contains this, in any case (default '': all)
-- status      only this state: queued, processing, completed or failed (default '': all with one)
-- server_id   only this server's (default '': all)
-- since_seconds   only files whose last event is younger (default '': all)
-- ids         only these files, as an array literal, where only_ids is true (default '{}')
-- only_ids    whether ids are meant (default false)
-- row_limit   most rows (default 200)
--
-- Reads the table once: 0.8 s for two million rows. The page gives it five seconds, and searches the newest files alone
-- (files_list.sql) where that is too little.
\ir _session.sql
\if :{?search} \else \set search '' \endif
\if :{?status} \else \set status '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?since_seconds} \else \set since_seconds '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?only_ids} \else \set only_ids false \endif
\if :{?row_limit} \else \set row_limit 200 \endif
WITH found AS (
    SELECT f.id, f.original_filename, f.processing_status, f.processing_server_id, f.file_size, f.processing_attempt,
           f.processing_failures, f.processing_errors,
           CASE f.processing_status WHEN 'queued' THEN f.processing_queued_at::timestamptz
                                    WHEN 'processing' THEN f.processing_started_at::timestamptz
                                    ELSE f.processing_completed_at::timestamptz END AS last_at,
           CASE WHEN lower(f.original_filename::text) = lower(:'search') THEN 0
                WHEN starts_with(lower(f.original_filename::text), lower(:'search')) THEN 1 ELSE 2 END AS rank
      FROM :"files" AS f
     WHERE f.processing_status IS NOT NULL AND f.deleted IS NOT TRUE
       AND (:'search' = '' OR strpos(lower(f.original_filename::text), lower(:'search')) > 0)
       AND (:'status' = '' OR f.processing_status = :'status')
       AND (:'server_id' = '' OR f.processing_server_id = :'server_id')
       AND (NOT :'only_ids'::boolean OR f.id = ANY (:'ids'))
)
SELECT id::text AS id, original_filename, processing_status, processing_server_id, last_at, file_size, processing_attempt,
       coalesce(processing_failures, 0) AS processing_failures, processing_errors
  FROM found
 WHERE :'since_seconds' = '' OR last_at >= now() - nullif(:'since_seconds', '')::float8 * interval '1 second'
 ORDER BY CASE :'search' WHEN '' THEN 0 ELSE rank END, last_at DESC NULLS LAST, found.id
 LIMIT :'row_limit'::int;
