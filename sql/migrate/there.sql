-- What of ours is there by name, and what is wrong with it: not valid, switched off, left out (the wake-up alone, by
-- choice), or NULL where all is well.
SELECT c.relname::text AS name, CASE WHEN NOT i.indisvalid THEN 'not valid' END AS fault
  FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
 WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
   AND c.relname IN (:'files', :'nodes', :'events', :'pauses', :'logs',
                     :'queue_index', :'held_index', :'ended_index', :'failed_index', :'alike_index', :'waiting_index',
                     :'lanes_index', :'events_by_file', :'events_by_time', :'events_by_kind', :'events_by_node',
                     :'old_queue_index', :'old_held_index', :'old_ended_index', :'old_failed_index', :'old_alike_index',
                     :'old_waiting_index',
                     :'old_events_by_file', :'old_events_by_time', :'old_events_by_kind', :'old_events_by_node')
UNION ALL
SELECT conname, NULL FROM pg_constraint
 WHERE conrelid = to_regclass(quote_ident(:'files')) AND conname IN (:'state_check', :'fence_check')
UNION ALL
SELECT tgname, CASE WHEN tgname = :'wake' AND tgenabled = 'D' THEN 'left out' WHEN tgenabled NOT IN ('O', 'A') THEN 'switched off' END FROM pg_trigger
 WHERE tgrelid = to_regclass(quote_ident(:'files')) AND tgname IN (:'guard', :'guard_new', :'wake');
