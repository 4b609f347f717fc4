-- Migrate both environments' tables: adds what opskit needs, changes nothing of the application's. Run it again at will.
--
-- psql "$DATABASE_URL" -f sql/migrate.sql
--
-- table   name of the files table without prefix (default uploaded_files, or OPSKIT_TABLE)
--
-- Safe on a live system: catalog-only changes under a short lock_timeout, indexes built CONCURRENTLY.
-- psql cannot retry: it stops at the first lock timeout, having changed nothing in that step; run it again.
-- `opskit migrate` does the same with retries.
\set ON_ERROR_STOP on
\set env production
\ir migrate/_one.sql
\set env development
\ir migrate/_one.sql
