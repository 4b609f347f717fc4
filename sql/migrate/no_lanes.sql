-- No lanes: nodes take the queue in its order again.
DROP INDEX CONCURRENTLY IF EXISTS :"lanes_index";
