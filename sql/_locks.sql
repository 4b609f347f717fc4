-- Never queue behind a long reader: everything else would queue behind us (psql only; Python: opskit/migration/).
SET lock_timeout = '800ms';
-- An autovacuum gives way to whoever has waited so long for its lock, by default 1 s; only a superuser may say less.
SELECT set_config('deadlock_timeout', '400ms', false) FROM pg_roles WHERE rolname = current_user AND rolsuper \g /dev/null
