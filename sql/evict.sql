-- Evict: end the open transactions of boots that are out. They lock rows that cleanup.sql must pass over.
--
-- psql "$DATABASE_URL" -v env=development -f sql/evict.sql
--
-- look_seconds   how old the look must be that saw the same lease end (default 2); '' means a third
--                of the node's own lease, as in cleanup.sql
--
-- Out is a boot whose lease has run out, as a look saw before, and a boot that another has replaced under its
-- server ID. Mostly its sessions end by themselves; not those of a process that is frozen with a transaction open, nor
-- those whose socket something lives on with that the processor has forked. Sessions are known by their
-- application_name (opskit ENVIRONMENT BOOT SERVER), and only those of roles that we may end are. Answers their pids.
\ir _session.sql
\if :{?look_seconds} \else \set look_seconds 2 \endif
WITH sessions AS MATERIALIZED (
    SELECT pid, name[1] AS boot, name[2] AS server_id, octet_length(application_name) = 63 AS cut
      FROM pg_stat_activity, regexp_match(application_name, '^opskit ' || :'env' || ' ([0-9a-f]{8}) (.+)$') AS name
     WHERE datname = current_database() AND xact_start IS NOT NULL AND name IS NOT NULL
       AND pg_has_role(usesysid, 'USAGE')
       -- Another schema may have nodes of the same names: only who has a lock on this table is in this one's way.
       AND EXISTS (SELECT FROM pg_locks AS l
                    WHERE l.pid = pg_stat_activity.pid AND l.relation = to_regclass(quote_ident(:'files')))
)
SELECT s.pid, pg_terminate_backend(s.pid) AS ended
  FROM sessions AS s
 WHERE EXISTS (SELECT FROM :"nodes" AS n
                WHERE left(n.boot::text, 8) = s.boot
                  AND n.lease_until < clock_timestamp() AND n.looked_lease = n.lease_until
                  AND n.looked_at <= clock_timestamp()
                      - coalesce(nullif(:'look_seconds', '')::float8, n.lease_seconds / 3) * interval '1 second')
    OR EXISTS (SELECT FROM :"nodes" AS n
                WHERE CASE WHEN s.cut THEN starts_with(n.server_id, s.server_id) ELSE n.server_id = s.server_id END)
       AND NOT EXISTS (SELECT FROM :"nodes" AS n WHERE left(n.boot::text, 8) = s.boot);
