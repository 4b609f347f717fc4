-- What the attempts at a file have said: stdout, stderr and log records, in chunks, oldest first.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -f sql/logs.sql
--
-- id               the file
-- after_attempt, after_sequence   cursor: the last chunk read (default 0, -1: from the beginning)
-- row_limit        most chunks (default 10000)
--
-- sequence is the place of a chunk's first byte in all that its attempt has said, size its length: where the next chunk
-- begins later than this one ends, what was between is not kept.
\ir _session.sql
\if :{?after_attempt} \else \set after_attempt 0 \endif
\if :{?after_sequence} \else \set after_sequence -1 \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
WITH file AS MATERIALIZED (
    SELECT id::text AS id, coalesce(processing_token, processing_done_token) AS token, processing_attempt AS attempt,
           processing_server_id AS server_id
      FROM :"files" WHERE id = :'id'
), attempts AS MATERIALIZED (
    SELECT DISTINCT ON (token) token, attempt, server_id
      FROM (SELECT token, attempt, server_id, 0 AS n FROM file
            UNION ALL
            SELECT token, attempt, server_id, 1 FROM :"events" WHERE file_id = (SELECT id FROM file)) AS known
     WHERE token IS NOT NULL AND attempt >= :'after_attempt'::int
     ORDER BY token, n
)
SELECT a.attempt, a.token::text AS token, a.server_id, l.sequence, l.size, l.at, l.text
  FROM attempts AS a
  JOIN :"logs" AS l USING (token)
 WHERE (a.attempt, l.sequence) > (:'after_attempt'::int, :'after_sequence'::bigint) AND l.text <> ''
 ORDER BY a.attempt, l.sequence
 LIMIT :'row_limit'::int;
