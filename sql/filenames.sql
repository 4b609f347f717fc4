-- The names of given files.
--
-- psql "$DATABASE_URL" -v env=development -v ids='{17,18}' -f sql/filenames.sql
--
-- ids   the files, as an array literal
\ir _session.sql
SELECT id::text AS id, original_filename FROM :"files" WHERE id = ANY (:'ids') ORDER BY id;
