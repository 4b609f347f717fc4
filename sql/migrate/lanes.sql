-- The index of the lanes, by which nodes take them in turn. Built without blocking anybody.
CREATE INDEX CONCURRENTLY IF NOT EXISTS :"lanes_index" ON :"files" (:"lane", processing_queued_at, id) WITH (fillfactor = 50)
    WHERE processing_status = 'queued' AND deleted IS NOT TRUE;
