-- Every column of the files table, the application's included, in order.
--
-- psql "$DATABASE_URL" -v env=development -f sql/all_columns.sql
\ir _session.sql
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = :'files'
 ORDER BY ordinal_position;
