-- Migrate one environment's tables (psql only; Python: opskit/migration/ runs the same parts).
\ir ../_session.sql
\set QUIET on
\warn migrating :files
\ir ../_locks.sql
SET client_min_messages = warning;
\ir refuse.sql
\if :{?problem}
\else
\ir refuse_columns.sql
\endif
\if :{?problem}
\else
\ir refuse_names.sql
\endif
\if :{?problem}
\else
\if :has_status
\ir refuse_statuses.sql
\endif
\endif
\if :{?problem}
\else
\ir refuse_rights.sql
\endif
\if :{?problem}
\else
\o /dev/null
BEGIN;
\ir shared.sql
COMMIT;
\o
\endif
\if :{?problem}
\else
-- A trial: an error here means, too, that nothing is changed.
\o /dev/null
BEGIN;
\ir tables.sql
\ir trial_copy.sql
\if :copied
\ir columns.sql
\if :plain_queue
\ir plain_queue.sql
\endif
\ir guard.sql
\ir trial.sql
\endif
ROLLBACK;
\o
\endif
\if :{?problem}
\warn :problem
DO $$ BEGIN RAISE EXCEPTION 'refused before anything was changed'; END $$;
\endif
\ir tables.sql
\if :shares
\o /dev/null
BEGIN;
\ir history.sql
COMMIT;
\o
\endif
-- Together or not at all: what a rollback takes away is what this has added.
BEGIN;
\ir note_columns.sql
\ir columns.sql
COMMIT;
\if :plain_queue
\ir plain_queue.sql
\endif
\ir guard.sql
\ir former_checks.sql
-- What an older version made and this one makes otherwise; without TEMP it is judged by its names alone.
SELECT has_database_privilege(current_database(), 'TEMP') AS can_compare, current_setting('search_path') AS path \gset
\if :can_compare
\ir model.sql
SELECT set_config('search_path', 'pg_temp, ' || quote_ident(current_schema()), false) AS model \gset
\ir tables.sql
\ir columns.sql
\if :plain_queue
\ir plain_queue.sql
\endif
\ir indexes.sql
SELECT set_config('search_path', :'path', false) AS path \gset
\ir outdated.sql
DISCARD TEMP;
\endif
\ir broken_indexes.sql
SET lock_timeout = 0;
\ir indexes.sql
\ir superseded.sql
SET lock_timeout = '800ms';
-- CREATE OR REPLACE switches it on again; whether it is to be there is the operator's choice, and stays.
SELECT count(*) > 0 AS no_wake FROM pg_trigger
 WHERE tgrelid = to_regclass(quote_ident(:'files')) AND tgname = :'wake' AND tgenabled = 'D' \gset
\ir wake.sql
\if :no_wake
\ir no_wake.sql
\endif
\ir settle.sql
\ir ../cleanup.sql
\unset QUIET
