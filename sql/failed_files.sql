-- The failed files of one group of failures.sql, the newest first.
--
-- psql "$DATABASE_URL" -v env=development -v error='line # is bad' -f sql/failed_files.sql
--
-- error           the group, as failures.sql names it
-- since_seconds   only files that failed within this time; '' means any (default '')
-- row_limit       most rows (default 200)
\ir _session.sql
\if :{?since_seconds} \else \set since_seconds '' \endif
\if :{?row_limit} \else \set row_limit 200 \endif
SELECT id::text AS id, original_filename, processing_server_id, processing_completed_at, processing_attempt,
       processing_errors
  FROM :"files"
 WHERE processing_status = 'failed' AND deleted IS NOT TRUE
   AND (:'since_seconds' = ''
        OR processing_completed_at >= now() - nullif(:'since_seconds', '')::float8 * interval '1 second')
   -- What every text of the group begins with is compared first: the patterns read only what may belong to it.
   AND starts_with(coalesce(processing_errors, 'no reason recorded'), substring(:'error'::text FROM '^[^#…]*'))
   AND regexp_replace(regexp_replace(left(coalesce(processing_errors, 'no reason recorded'), 500),
           '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '[0-9]+', '#', 'g') = :'error'
 ORDER BY processing_completed_at DESC NULLS LAST, id
 LIMIT :'row_limit'::int;
