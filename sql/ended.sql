-- How many files each server has ended, and how many rows have no status: what hardly moves, and takes long to count.
--
-- psql "$DATABASE_URL" -v env=development -f sql/ended.sql
--
-- Counted anew from the table each time, by an index-only scan of the ended index and of the waiting index: exact in its
-- snapshot, which counted_at names, whatever wrote the rows (late commits, rollbacks, deletes, requeues, the
-- application's own UPDATEs). Nothing is kept that could drift: a rollup kept by the nodes' statements would not see
-- the application's UPDATEs, one kept by a trigger would cost each completion up to a fifth of its rate.
--
-- Page, API and /metrics keep the answer when it took more than 50 ms and is of more than 100,000 rows, and count again at
-- most once a minute for all of them together, behind the scenes; the live numbers (live.sql, live_distribution.sql) never wait for it.
\ir _session.sql
SELECT processing_server_id, processing_status, count(*) AS file_count, now() AS counted_at
  FROM :"files" WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
 GROUP BY processing_server_id, processing_status
UNION ALL
SELECT NULL, NULL, count(*), now()
  FROM :"files" WHERE processing_status IS NULL AND deleted IS NOT TRUE;
