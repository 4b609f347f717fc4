-- Whether this role may prune: delete from the nodes table, from the events and from the logs.
--
-- psql "$DATABASE_URL" -v env=development -f sql/may_prune.sql
\ir _session.sql
SELECT has_table_privilege(to_regclass(quote_ident(:'nodes'))::oid, 'DELETE')
       AND has_table_privilege(to_regclass(quote_ident(:'events'))::oid, 'DELETE')
       AND has_table_privilege(to_regclass(quote_ident(:'logs'))::oid, 'DELETE') AS may;
