-- A node's heartbeat: renews the lease, stores the progress, answers what the node must know. One HOT update.
--
-- psql: for nodes; an operator has no use for it.
--
-- server_id, boot             the node; no row when another boot has taken its place: it is deposed
-- token                       the claim that its child works on, '' when none
-- progress_done, progress_total   '' when unknown
-- progress_age_seconds        how long ago the file last moved, '' when it never did
-- memory_bytes                what its processes take, '' when unknown (default '')
--
-- `holds` is false when the claim has been ended by others: the child works for nothing.
-- `cancel_token` is a claim whose cancellation was asked for: its child is to be killed.
-- `others` is true when there are claims beside it: something that may have to be reaped.
-- A heartbeat that waited for pause.sql does not see its pause: what that wrote into the row is in doubt then, and no
-- claim, until a second heartbeat has seen none either.
-- Nothing indexed changes, and the table's fillfactor leaves room: heartbeats stay HOT.
\ir _session.sql
\if :{?memory_bytes} \else \set memory_bytes '' \endif
UPDATE :"nodes" AS n
   SET beat_at = clock_timestamp(), lease_until = clock_timestamp() + lease_seconds * interval '1 second',
       token = nullif(:'token', '')::uuid,
       progress_done = nullif(:'progress_done', '')::bigint, progress_total = nullif(:'progress_total', '')::bigint,
       memory_bytes = nullif(:'memory_bytes', '')::bigint,
       progress_at = clock_timestamp() - nullif(:'progress_age_seconds', '')::float8 * interval '1 second',
       paused = CASE WHEN EXISTS (SELECT FROM :"pauses" AS p
                                   WHERE p.scope IN ('*', n.server_id) OR p.scope = ' breaker' AND p.closed_at IS NULL) THEN true
                     WHEN n.paused THEN NULL ELSE false END
 WHERE server_id = :'server_id' AND boot = :'boot'::uuid
RETURNING state, epoch, paused IS TRUE AS paused, cancel_token::text AS cancel_token,
          EXISTS (SELECT FROM :"files" AS f
                   WHERE f.processing_status = 'processing' AND f.processing_server_id = n.server_id
                     AND f.processing_token = nullif(:'token', '')::uuid) AS holds,
          EXISTS (SELECT FROM :"files" AS f
                   WHERE f.processing_status = 'processing'
                     AND f.processing_token IS DISTINCT FROM nullif(:'token', '')::uuid) AS others;
