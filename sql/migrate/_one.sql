-- Migrate one environment's tables (psql only; Python: schema.py runs the same parts).
\ir ../_session.sql
\set QUIET on
\warn migrating :files
SET lock_timeout = '800ms';
SET client_min_messages = warning;
\ir refuse.sql
\if :{?problem}
\else
\if :has_status
\ir refuse_statuses.sql
\endif
\endif
\if :{?problem}
\warn :problem
DO $$ BEGIN RAISE EXCEPTION 'refused before anything was changed'; END $$;
\endif
\ir tables.sql
\ir note_columns.sql
\ir columns.sql
\if :plain_queue
\ir plain_queue.sql
\endif
\ir guard.sql
\ir broken_indexes.sql
SET lock_timeout = 0;
\ir indexes.sql
SET lock_timeout = '800ms';
\ir constraints.sql
\ir validate.sql
\ir wake.sql
\ir settle.sql
\ir ../cleanup.sql
\unset QUIET
