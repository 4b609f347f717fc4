-- Indexes of an older version that were set aside: the new ones are built.
DROP INDEX CONCURRENTLY IF EXISTS :"old_queue_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_held_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_ended_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_failed_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_alike_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_waiting_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_events_by_file";

DROP INDEX CONCURRENTLY IF EXISTS :"old_events_by_time";

DROP INDEX CONCURRENTLY IF EXISTS :"old_events_by_kind";

DROP INDEX CONCURRENTLY IF EXISTS :"old_events_by_node";
