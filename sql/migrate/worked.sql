-- What a rollback would lose beside columns: events but the migration's own, and files that were processed (up to 1000).
SELECT (SELECT count(*) FROM (SELECT FROM :"events" WHERE kind <> 'migrate' LIMIT 1000) AS counted) AS events,
       (SELECT count(*) FROM (SELECT FROM :"files" WHERE processing_status IN ('completed', 'failed') LIMIT 1000) AS counted) AS files;
