-- The same statement of that earlier version: its nodes go on with it while the table is upgraded.
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
            ELSE 'lost' END AS answer
  FROM (SELECT 1) AS one
  LEFT JOIN (SELECT processing_status, processing_token, processing_done_token
               FROM :"files" WHERE id = :'id') AS now ON true;
