-- Dead rows and autovacuum's last visit, for the tables that change: those it neglects.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/vacuum.sql
--
-- dead_rows   how many dead rows are worth a word (default 10000)
--
-- Neglected: autovacuum is switched off, or twice as many rows are dead as should have brought it here.
\ir ../_session.sql
\if :{?dead_rows} \else \set dead_rows 10000 \endif
SELECT name, dead, visited_at, switched_off,
       CASE switched_off WHEN 'table' THEN pg_catalog.format('ALTER TABLE %s RESET (autovacuum_enabled);', name)
                         ELSE 'ALTER SYSTEM SET ' || switched_off || ' = on;' END AS mend
  FROM (SELECT c.oid::regclass::text AS name, s.n_dead_tup AS dead,
               greatest(s.last_vacuum, s.last_autovacuum) AS visited_at,
               CASE WHEN options.given ->> 'autovacuum_enabled' IN ('false', 'off', '0', 'no') THEN 'table'
                    WHEN current_setting('autovacuum') = 'off' THEN 'autovacuum'
                    WHEN current_setting('track_counts') = 'off' THEN 'track_counts'
               END AS switched_off,
               2 * (coalesce((options.given ->> 'autovacuum_vacuum_threshold')::float8,
                             current_setting('autovacuum_vacuum_threshold')::float8)
                    + coalesce((options.given ->> 'autovacuum_vacuum_scale_factor')::float8,
                               current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0)) AS bound
          FROM pg_class AS c JOIN pg_stat_user_tables AS s ON s.relid = c.oid
         CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.jsonb_object_agg(option_name, option_value), '{}') AS given
                               FROM pg_options_to_table(c.reloptions)) AS options
         WHERE c.oid IN (to_regclass(quote_ident(:'files')), to_regclass(quote_ident(:'nodes')),
                         to_regclass(quote_ident(:'events')))) AS found
 WHERE switched_off IS NOT NULL OR dead > greatest(bound, :'dead_rows'::float8)
 ORDER BY dead DESC, name;
