-- Whether this role may end claims and queue files again: a viewer may not.
--
-- psql "$DATABASE_URL" -v env=development -f sql/may_act.sql
\ir _session.sql
SELECT has_column_privilege(to_regclass(quote_ident(:'files')), 'processing_status', 'UPDATE')
       AND has_table_privilege(to_regclass(quote_ident(:'events')), 'INSERT')
       AND NOT pg_is_in_recovery() AS may;
