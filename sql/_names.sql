-- The names of one environment's tables, indexes, former checks and triggers (psql only; Python: opskit/database/names.py).
SELECT files, 'opskit_' || files AS channel, 'opskit_cancel_' || files AS cancel_channel, beside || '_nodes' AS nodes, beside || '_events' AS events, beside || '_pauses' AS pauses,
       beside || '_logs' AS logs, beside || '_logs_time' AS logs_time,
       CASE WHEN own THEN beside || '_nodes_key' ELSE beside || '_nodes_server_id_epoch_key' END AS nodes_key,
       CASE WHEN own THEN beside || '_nodes_state' ELSE beside || '_nodes_state_check' END AS nodes_state,
       CASE WHEN own THEN beside || '_on_orphan' ELSE beside || '_nodes_on_orphan_check' END AS nodes_orphan,
       files || '_processing_queue' AS queue_index, files || '_processing_held' AS held_index,
       files || '_processing_ended' AS ended_index, files || '_processing_fails' AS failed_index,
       files || '_processing_waits' AS waiting_index, files || '_processing_lanes' AS lanes_index, 'processing_status' AS lane_column, files || '_processing_state' AS state_check,
       files || '_processing_fence' AS fence_check, files || '_processing_guard' AS guard,
       files || '_processing_new' AS guard_new, files || '_processing_wake' AS wake,
       by || '_by_file' AS events_by_file, by || '_by_time' AS events_by_time, by || '_by_kind' AS events_by_kind,
       files || '_processing_alike' AS alike_index, files || '_superseded_alike' AS old_alike_index,
       by || '_by_node' AS events_by_node, old || '_by_node' AS old_events_by_node,
       files || '_superseded_queue' AS old_queue_index, files || '_superseded_held' AS old_held_index,
       files || '_superseded_ended' AS old_ended_index, files || '_superseded_fails' AS old_failed_index,
       files || '_superseded_waits' AS old_waiting_index, files || '_superseded_lanes' AS old_lanes_index, old || '_by_file' AS old_events_by_file,
       old || '_by_time' AS old_events_by_time, old || '_by_kind' AS old_events_by_kind,
       p || 'processing_nodes' AS shared_nodes, p || 'processing_events' AS shared_events, p || 'processing_pauses' AS shared_pauses
  FROM (SELECT CASE :'env' WHEN 'production' THEN '' ELSE 'dev_' END AS p, :'table' <> 'uploaded_files' AS own) AS prefix
 CROSS JOIN LATERAL (SELECT p || :'table' AS files) AS t
 CROSS JOIN LATERAL (SELECT CASE WHEN own THEN files || '_opskit' ELSE p || 'processing' END AS beside,
                            CASE WHEN own THEN files || '_opskit' ELSE p || 'processing_events' END AS by,
                            CASE WHEN own THEN files || '_superseded' ELSE p || 'superseded_events' END AS old) AS stems \gset
