-- The column check: which columns of the files table opskit reads or writes, and their types.
--
-- psql "$DATABASE_URL" -v env=development -f sql/columns.sql
\ir _session.sql
SELECT column_name, data_type, is_nullable, column_default
  FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = :'files'
   AND (column_name LIKE 'processing\_%'
        OR column_name IN ('id', 'original_filename', 'storage_path', 'file_size', 'uploaded_at', 'deleted'))
 ORDER BY ordinal_position;
