-- The names of one environment's tables, indexes, former checks and triggers (psql only; Python: database.py).
SELECT p || :'table' AS files, p || 'processing_nodes' AS nodes, p || 'processing_events' AS events,
       p || 'processing_pauses' AS pauses, 'opskit_' || p || :'table' AS channel,
       p || :'table' || '_processing_queue' AS queue_index, p || :'table' || '_processing_held' AS held_index,
       p || :'table' || '_processing_ended' AS ended_index, p || :'table' || '_processing_fails' AS failed_index,
       p || :'table' || '_processing_alike' AS alike_index,
       p || :'table' || '_processing_waits' AS waiting_index, p || :'table' || '_processing_state' AS state_check,
       p || :'table' || '_processing_fence' AS fence_check, p || :'table' || '_processing_guard' AS guard,
       p || :'table' || '_processing_new' AS guard_new, p || :'table' || '_processing_wake' AS wake,
       p || 'processing_events_by_file' AS events_by_file, p || 'processing_events_by_time' AS events_by_time,
       p || 'processing_events_by_kind' AS events_by_kind, p || 'processing_events_by_node' AS events_by_node,
       p || :'table' || '_superseded_queue' AS old_queue_index, p || :'table' || '_superseded_held' AS old_held_index,
       p || :'table' || '_superseded_ended' AS old_ended_index, p || :'table' || '_superseded_fails' AS old_failed_index,
       p || :'table' || '_superseded_alike' AS old_alike_index,
       p || :'table' || '_superseded_waits' AS old_waiting_index,
       p || 'superseded_events_by_file' AS old_events_by_file, p || 'superseded_events_by_time' AS old_events_by_time,
       p || 'superseded_events_by_kind' AS old_events_by_kind, p || 'superseded_events_by_node' AS old_events_by_node
  FROM (SELECT CASE :'env' WHEN 'production' THEN '' ELSE 'dev_' END AS p) AS prefix \gset
