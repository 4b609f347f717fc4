-- What a migration meets: how large the table is, and who holds it or keeps vacuum back for long.
SELECT pg_total_relation_size(to_regclass(quote_ident(:'files'))) AS bytes,
       (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(quote_ident(:'files'))) AS rows_estimated,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                            'pid', a.pid, 'user', a.usename, 'application', a.application_name, 'state', a.state,
                            'transaction_seconds', round(extract(epoch FROM clock_timestamp() - a.xact_start)),
                            'lock', l.mode, 'query', left(a.query, 80)) ORDER BY a.xact_start)
                   FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                  WHERE l.relation = to_regclass(quote_ident(:'files')) AND l.granted AND a.pid <> pg_backend_pid()
                    AND a.xact_start < clock_timestamp() - interval '1 second'), '[]') AS in_the_way;
