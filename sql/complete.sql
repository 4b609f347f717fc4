-- Complete a file that is held under a token. Answers done, already, again or lost.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -v token=... -v result='{"rows": 10}' -f sql/complete.sql
--
-- id, token   the file and the token under which it was claimed: the fence
-- result      JSON stored with the row; 'null' for none
--
-- done     completed now
-- already  this token completed it before (the answer of an earlier try was lost)
-- again    an earlier try, or a cleanup, has the row locked this moment: ask again
-- lost     the claim is no longer this token's; nothing was written
--
-- Beside the answer, the number of the transaction: whoever goes on in it can tell at its end that it is still the same.
\ir _session.sql
WITH mine AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE id = :'id' AND processing_token = :'token'::uuid AND processing_status || '' = 'processing'
       FOR NO KEY UPDATE SKIP LOCKED
), done AS (
    UPDATE :"files" AS f
       SET processing_status = 'completed', processing_completed_at = clock_timestamp(), processing_errors = NULL,
           processing_failures = 0, processing_done_token = :'token'::uuid, processing_result = :'result'::jsonb
      FROM mine WHERE f.id = mine.id
    RETURNING 1
)
SELECT CASE WHEN EXISTS (SELECT FROM done) THEN 'done'
            WHEN now.processing_done_token = :'token'::uuid THEN 'already'
            WHEN now.processing_token = :'token'::uuid AND now.processing_status = 'processing' THEN 'again'
            ELSE 'lost' END AS answer,
       pg_current_xact_id()::text AS transaction
  FROM (SELECT 1) AS one
  LEFT JOIN (SELECT processing_status, processing_token, processing_done_token
               FROM :"files" WHERE id = :'id') AS now ON true;
