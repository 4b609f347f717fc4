-- Nothing is done on a table that is not migrated, or by half (psql only; Python: opskit/queue/readiness.py).
\ir migrate/standing.sql
\if :{?lacking}
\warn not migrated: :lacking; run sql/migrate.sql
DO $$ BEGIN RAISE EXCEPTION 'nothing was changed'; END $$;
\endif
