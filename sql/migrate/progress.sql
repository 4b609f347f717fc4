-- How far the building of an index is, as PostgreSQL tells it; no row when none is being built.
-- share is that of its phase: 0 to 1, or NULL. waits_for is whoever it waits for, in words.
SELECT p.phase,
       CASE WHEN p.phase LIKE 'waiting for%' THEN p.lockers_done::float8 / nullif(p.lockers_total, 0)
            WHEN p.blocks_total > 0 THEN p.blocks_done::float8 / p.blocks_total
            WHEN p.tuples_total > 0 THEN p.tuples_done::float8 / p.tuples_total END AS share,
       CASE WHEN p.current_locker_pid > 0 THEN
            (SELECT pg_catalog.format('process %s of %s (%s), %s', a.pid, coalesce(a.usename, 'another role'),
                           coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(a.state, 'in a state unknown'))
               FROM pg_stat_activity AS a WHERE a.pid = p.current_locker_pid) END AS waits_for
  FROM pg_stat_progress_create_index AS p
 WHERE p.datname = current_database()
   AND p.relid IN (to_regclass(quote_ident(:'files')), to_regclass(quote_ident(:'events')))
 LIMIT 1;
