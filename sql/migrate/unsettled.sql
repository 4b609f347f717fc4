-- Whether a claim from before says no start, or a file queued before has no place in the queue.
(SELECT 1 AS one FROM :"files" WHERE processing_status = 'processing' AND processing_started_at IS NULL LIMIT 1)
UNION ALL
-- Without a place is last in the queue's index: one look at its end, whatever the statistics say.
(SELECT 1 FROM (SELECT processing_queued_at FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                 ORDER BY processing_queued_at DESC, id DESC LIMIT 1) AS last
  WHERE processing_queued_at IS NULL);
