-- Remove what the migration added beside columns; opskit/migration/rolling_back.py drops those, as noted in the events.
DROP TRIGGER IF EXISTS :"wake" ON :"files";

DROP TRIGGER IF EXISTS :"guard" ON :"files";

DROP TRIGGER IF EXISTS :"guard_new" ON :"files";

DROP FUNCTION IF EXISTS :"wake"();

DROP FUNCTION IF EXISTS :"guard"();

ALTER TABLE :"files"
    DROP CONSTRAINT IF EXISTS :"state_check",
    DROP CONSTRAINT IF EXISTS :"fence_check";

DROP INDEX CONCURRENTLY IF EXISTS :"queue_index";

DROP INDEX CONCURRENTLY IF EXISTS :"held_index";

DROP INDEX CONCURRENTLY IF EXISTS :"ended_index";

DROP INDEX CONCURRENTLY IF EXISTS :"failed_index";

DROP INDEX CONCURRENTLY IF EXISTS :"alike_index";

DROP INDEX CONCURRENTLY IF EXISTS :"waiting_index";

DROP INDEX CONCURRENTLY IF EXISTS :"lanes_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_queue_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_held_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_ended_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_failed_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_alike_index";

DROP INDEX CONCURRENTLY IF EXISTS :"old_waiting_index";

DROP TABLE IF EXISTS :"logs", :"pauses", :"events", :"nodes";
