-- Claim one given file by hand: the claim of claim.sql, restricted to an id. Safe beside the scheduled nodes.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=by-hand -v boot=... -v epoch=... \
--      -v token=$(uuidgen) -v id=42 -f sql/claim_one.sql
--
-- id       the file; a file whose retry is not due yet, and one that is paused for the rest, may be claimed
-- others   as in claim.sql
--
-- Answers one row: claimed, deposed or empty; with `empty` the columns status and holder say why.
\ir _session.sql
WITH node AS MATERIALIZED (
    SELECT state FROM :"nodes"
     WHERE server_id = :'server_id' AND boot = :'boot'::uuid AND epoch = :'epoch'::bigint
       FOR KEY SHARE
), pick AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE id = :'id' AND processing_status = 'queued' AND deleted IS NOT TRUE AND EXISTS (SELECT FROM node)
       FOR NO KEY UPDATE
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, f.processing_queued_at::text AS queued_at
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN EXISTS (SELECT FROM node) THEN 'empty'
            ELSE 'deposed' END AS outcome,
       claimed.*, NULL::float8 AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN claimed ON true;
