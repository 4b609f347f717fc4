-- What a migration meets: how large the table is, and who is in the way now: whoever has held a lock on it for a second
-- (every statement waits for them), and whoever has had a transaction open as long (only the building of an index
-- waits for them; lock is NULL).
WITH held AS MATERIALIZED (
    SELECT pid, virtualtransaction, pg_catalog.string_agg(DISTINCT mode, ', ' ORDER BY mode) AS lock
      FROM pg_locks WHERE relation = to_regclass(quote_ident(:'files')) AND granted AND pid IS DISTINCT FROM pg_backend_pid()
     GROUP BY pid, virtualtransaction
), found AS (
    SELECT a.pid, a.usename AS user, a.application_name AS application, a.state, a.xact_start AS since, h.lock, left(a.query, 80) AS query,
           CASE WHEN a.backend_type = 'autovacuum worker' THEN pg_catalog.format('autovacuum (process %s)', a.pid)
                ELSE pg_catalog.format('process %s of %s (%s), %s', a.pid, coalesce(a.usename, 'another role'),
                            coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(a.state, 'in a state unknown')) END AS who
      FROM pg_stat_activity AS a LEFT JOIN held AS h ON h.pid = a.pid
     WHERE h.lock IS NOT NULL
        OR a.backend_xmin IS NOT NULL AND a.datname = current_database() AND a.pid <> pg_backend_pid()
           AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
    UNION ALL
    SELECT NULL, p.owner, NULL, 'prepared', p.prepared, h.lock, NULL, pg_catalog.format('the prepared transaction %L of %s', p.gid, p.owner)
      FROM held AS h JOIN pg_prepared_xacts AS p ON h.virtualtransaction = '-1/' || p.transaction
     WHERE h.pid IS NULL
)
SELECT pg_total_relation_size(to_regclass(quote_ident(:'files'))) AS bytes,
       (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(quote_ident(:'files'))) AS rows_estimated,
       coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                            'pid', pid, 'user', "user", 'application', application, 'state', state, 'who', who,
                            'transaction_seconds', round(extract(epoch FROM clock_timestamp() - since)),
                            'lock', lock, 'query', query) ORDER BY lock IS NULL, since)
                   -- Of other roles' sessions the time may be hidden.
                   FROM found WHERE since IS NULL OR since < clock_timestamp() - interval '1 second'), '[]') AS in_the_way;
