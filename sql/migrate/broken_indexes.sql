-- Indexes of ours that an interrupted CREATE INDEX CONCURRENTLY left invalid: the statement that drops each.
SELECT pg_catalog.format('DROP INDEX CONCURRENTLY %I', c.relname) AS repair
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
 WHERE NOT i.indisvalid AND c.relnamespace = quote_ident(current_schema())::regnamespace
   AND c.relname IN (:'queue_index', :'held_index', :'ended_index', :'failed_index', :'alike_index', :'waiting_index',
                     :'lanes_index', :'events_by_file', :'events_by_time', :'events_by_kind', :'events_by_node')
\gexec
