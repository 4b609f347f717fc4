-- Write down when a file ended whose processor completes it within its own transaction (completing()): at that
-- transaction's end. Its first statement has completed the file, so that a lost claim writes nothing.
--
-- psql: for nodes; an operator has no use for it.
--
-- id, token   the file and the token that completed it
\ir _session.sql
UPDATE :"files" SET processing_completed_at = clock_timestamp()
 WHERE id = :'id' AND processing_done_token = :'token'::uuid AND processing_status || '' = 'completed';
