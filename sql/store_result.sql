-- Store the result of a file that its processor completed within its own transaction (completing()).
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -v token=... -v result='{"rows": 10}' -f sql/store_result.sql
--
-- id, token   the file and the token that completed it; a row that has moved on is left alone
-- result      JSON
--
-- Answers a row, or none when there was nothing to store it with.
\ir _session.sql
UPDATE :"files" SET processing_result = :'result'::jsonb
 WHERE id = :'id' AND processing_done_token = :'token'::uuid AND processing_status || '' = 'completed'
RETURNING 1 AS stored;
