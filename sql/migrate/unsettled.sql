-- Whether a claim from before says no start.
SELECT 1 AS one FROM :"files" WHERE processing_status = 'processing' AND processing_started_at IS NULL LIMIT 1;
