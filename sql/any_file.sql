-- Whether the files table has any row at all: one row, or none.
--
-- psql "$DATABASE_URL" -v env=development -f sql/any_file.sql
\ir _session.sql
SELECT 1 AS one FROM :"files" LIMIT 1;
