-- What every file opens with when psql runs it: the session's settings, the environment, the tables' names.
--
-- Ages must be judged in UTC: an operator in another zone read a ten-minute claim in a plain
-- timestamp column as 70 minutes old. So must everything else that _settings.sql names. The environment is -v env=production or env=development,
-- else OPSKIT_ENV, else development, as everywhere.
\set ON_ERROR_STOP on
\set QUIET on
\ir _settings.sql
\if :{?env} \else \getenv env OPSKIT_ENV \endif
\if :{?env} \else \set env development \endif
\if :{?table} \else \getenv table OPSKIT_TABLE \endif
\if :{?table} \else \set table uploaded_files \endif
SELECT :'env' IN ('production', 'development') AS env_known \gset
\if :env_known
\else
DO $$ BEGIN RAISE EXCEPTION 'unknown environment; say -v env=production or -v env=development'; END $$;
\endif
SELECT octet_length(:'table') BETWEEN 1 AND 40 AS table_fits \gset
\if :table_fits
\else
DO $$ BEGIN RAISE EXCEPTION 'the name of the table has more than 40 bytes, and PostgreSQL would cut names of its indexes'; END $$;
\endif
\ir _names.sql
\unset QUIET
