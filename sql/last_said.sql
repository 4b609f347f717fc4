-- What attempts have said last: the end of the newest chunk of each file in processing and of the newest ended attempts.
--
-- psql "$DATABASE_URL" -v env=development -f sql/last_said.sql
--
-- row_limit   most attempts (default 20)
--
-- original_filename is NULL for an attempt that went wrong: the history has the file's id alone. text is at most its last
-- 2000 characters. Only claims, and the newest ends of attempts, are read, however large the tables are.
\ir _session.sql
\if :{?row_limit} \else \set row_limit 20 \endif
WITH attempts AS MATERIALIZED (
    SELECT id::text AS file_id, original_filename::text AS original_filename, processing_server_id AS server_id,
           processing_attempt AS attempt, processing_token AS token
      FROM :"files" WHERE processing_status = 'processing' AND processing_token IS NOT NULL
     UNION ALL
    (SELECT id::text, original_filename::text, processing_server_id, processing_attempt, processing_done_token
       FROM :"files"
      WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE AND processing_completed_at <= now()
      ORDER BY processing_completed_at DESC LIMIT :'row_limit'::int)
     UNION ALL
    (SELECT file_id, NULL, server_id, attempt, token FROM :"events"
      WHERE kind = 'attempt' ORDER BY id DESC LIMIT :'row_limit'::int)
)
SELECT l.at, a.server_id, a.file_id, a.original_filename, a.attempt, l.text
  FROM (SELECT DISTINCT ON (token) * FROM attempts WHERE token IS NOT NULL ORDER BY token, original_filename) AS a
 CROSS JOIN LATERAL (SELECT at, right(text, 2000) AS text FROM :"logs"
                      WHERE token = a.token AND text <> '' ORDER BY sequence DESC LIMIT 1) AS l
 ORDER BY l.at DESC, a.file_id
 LIMIT :'row_limit'::int;
