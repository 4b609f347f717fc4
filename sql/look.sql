-- Take a look: write down which leases have run out and which claims of live nodes do not move.
--
-- psql "$DATABASE_URL" -v env=development -f sql/look.sql
--
-- A second look that sees the same is what lets cleanup.sql act. A jump of the database's clock, or a pause
-- of the whole database, thus robs nobody: with one look a jump of an hour robbed 2 to 4 of 4 live nodes.
-- Answers the nodes newly suspected.
\ir _session.sql
UPDATE :"nodes" AS n
   SET looked_lease = CASE WHEN n.lease_until < clock_timestamp() THEN n.lease_until ELSE n.looked_lease END,
       looked_at = CASE WHEN n.lease_until < clock_timestamp() AND n.looked_lease IS DISTINCT FROM n.lease_until
                        THEN clock_timestamp() ELSE n.looked_at END,
       stale_token = hung.token,
       stale_at = CASE WHEN hung.token IS NULL THEN NULL
                       WHEN n.stale_token = hung.token THEN n.stale_at ELSE clock_timestamp() END
  FROM (SELECT m.server_id,
               (SELECT f.processing_token FROM :"files" AS f
                 WHERE f.processing_status = 'processing' AND f.processing_server_id = m.server_id
                   AND f.processing_token IS NOT NULL AND f.processing_epoch >= m.first_epoch
                   AND greatest(f.processing_started_at, CASE WHEN m.token = f.processing_token THEN m.progress_at END)
                       < clock_timestamp() - m.stale_after_seconds * interval '1 second'
                 LIMIT 1) AS token
          FROM :"nodes" AS m) AS hung
 WHERE hung.server_id = n.server_id
   AND (n.lease_until < clock_timestamp() AND n.looked_lease IS DISTINCT FROM n.lease_until
        OR n.stale_token IS DISTINCT FROM hung.token)
RETURNING n.server_id;
