-- What a node's attempts have said: the end of the newest chunk of the file in hand and of those that it ended last.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-1 -f sql/node_said.sql
--
-- server_id   the node
-- row_limit   most attempts (default 20)
--
-- original_filename is NULL for an attempt that went wrong: the history has the file's id alone. text is at most its last
-- 4000 characters. Of the files that have ended the newest 5000 are looked at, however large the table is.
\ir _session.sql
\if :{?row_limit} \else \set row_limit 20 \endif
WITH attempts AS MATERIALIZED (
    SELECT id::text AS file_id, original_filename::text AS original_filename, processing_attempt AS attempt, processing_token AS token
      FROM :"files" WHERE processing_status = 'processing' AND processing_token IS NOT NULL AND processing_server_id = :'server_id'
     UNION ALL
    (SELECT id::text, original_filename::text, processing_attempt, processing_done_token
       FROM (SELECT * FROM :"files"
              WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE AND processing_completed_at <= now()
              ORDER BY processing_completed_at DESC LIMIT 5000) AS newest
      WHERE processing_server_id = :'server_id'
      LIMIT :'row_limit'::int)
     UNION ALL
    (SELECT file_id, NULL, attempt, token FROM :"events"
      WHERE server_id = :'server_id' AND kind = 'attempt' ORDER BY id DESC LIMIT :'row_limit'::int)
)
SELECT l.at, a.file_id, a.original_filename, a.attempt, l.text
  FROM (SELECT DISTINCT ON (token) * FROM attempts WHERE token IS NOT NULL ORDER BY token, original_filename) AS a
 CROSS JOIN LATERAL (SELECT at, right(text, 4000) AS text FROM :"logs"
                      WHERE token = a.token AND text <> '' ORDER BY sequence DESC LIMIT 1) AS l
 ORDER BY l.at DESC, a.file_id
 LIMIT :'row_limit'::int;
