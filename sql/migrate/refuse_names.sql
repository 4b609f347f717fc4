-- Names that the migration needs, and something else has. Answers one row; problem is NULL when there is none.
WITH here AS MATERIALIZED (
    SELECT oid FROM pg_namespace WHERE nspname = current_schema()
), tables (name, columns) AS (
    VALUES (:'nodes', '{server_id,boot,lease_until}'::text[]), (:'events', '{kind,file_id,reason}'), (:'pauses', '{scope,actor,reason}'),
           (:'logs', '{token,sequence,text}')
), indexes (name, over) AS (
    VALUES (:'queue_index', :'files'), (:'held_index', :'files'), (:'ended_index', :'files'), (:'failed_index', :'files'),
           (:'waiting_index', :'files'), (:'lanes_index', :'files'), (:'old_queue_index', :'files'), (:'old_held_index', :'files'),
           (:'old_ended_index', :'files'), (:'old_failed_index', :'files'), (:'old_waiting_index', :'files'),
           (:'events_by_file', :'events'), (:'events_by_time', :'events'), (:'events_by_kind', :'events'),
           (:'old_events_by_file', :'events'), (:'old_events_by_time', :'events'), (:'old_events_by_kind', :'events'),
           (:'nodes' || '_pkey', :'nodes'), (:'events' || '_pkey', :'events'), (:'pauses' || '_pkey', :'pauses'),
           (:'logs' || '_pkey', :'logs'), (:'logs_time', :'logs'),
           (:'nodes_key', :'nodes'), (:'alike_index', :'files'), (:'old_alike_index', :'files'), (:'events_by_node', :'events'), (:'old_events_by_node', :'events')
), relations AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind, i.indrelid, '; rename it: ALTER ' || w.word || ' ' || quote_ident(c.relname) || ' RENAME TO ...' AS mend,
           lower(w.word) AS word
      FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
     CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                               WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE'
                                               WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS word) AS w
     WHERE c.relnamespace IN (SELECT oid FROM here)
       AND c.relname IN (SELECT name FROM tables UNION ALL SELECT name FROM indexes)
), triggers AS MATERIALIZED (
    SELECT t.tgname, t.tgfoid FROM pg_trigger AS t WHERE t.tgrelid = to_regclass(quote_ident(:'files')) AND NOT t.tgisinternal
), functions AS MATERIALIZED (
    SELECT p.oid, p.proname, p.oid::regprocedure AS shown,
           -- Ours, of whatever version: our trigger calls it, or it says what ours say.
           p.prokind = 'f' AND p.prorettype = 'trigger'::regtype
           AND (EXISTS (SELECT FROM triggers WHERE tgname = p.proname AND tgfoid = p.oid)
                OR p.prosrc LIKE '%processing\_token%' OR p.prosrc LIKE '%pg\_notify%opskit\_%') AS is_ours
      FROM pg_proc AS p WHERE p.pronamespace IN (SELECT oid FROM here) AND p.proname IN (:'guard', :'wake') AND p.pronargs = 0
)
SELECT coalesce(
    (SELECT 'opskit needs the name ' || quote_ident(relname) || ' for a table of its own, and a ' || word || ' of other columns has it' || mend
       FROM relations JOIN tables ON tables.name = relname
      WHERE relkind <> 'r'
         OR columns && (SELECT pg_catalog.array_agg(wanted) FROM pg_catalog.unnest(columns) AS wanted
                         WHERE wanted NOT IN (SELECT attname FROM pg_attribute WHERE attrelid = relations.oid AND NOT attisdropped))
      ORDER BY relname LIMIT 1),
    (SELECT 'opskit needs the name ' || quote_ident(relname) || ' for an index of its own, and a ' || word || ' has it' || mend
       FROM relations JOIN indexes ON indexes.name = relname
      WHERE relkind <> 'i' OR indrelid IS DISTINCT FROM to_regclass(quote_ident(over))
      ORDER BY relname LIMIT 1),
    (SELECT 'opskit needs the name ' || quote_ident(t.typname) || ' for a table of its own, and a type has it; rename it: ALTER TYPE '
            || quote_ident(t.typname) || ' RENAME TO ...'
       FROM pg_type AS t
      WHERE t.typnamespace IN (SELECT oid FROM here) AND t.typrelid = 0 AND t.typname IN (SELECT name FROM tables UNION ALL SELECT :'files')
        -- The type of an array gives way.
        AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)
      ORDER BY t.typname LIMIT 1),
    (SELECT 'opskit needs the name ' || shown || ' for a function of its own, and another function has it; rename it: ALTER ROUTINE '
            || shown || ' RENAME TO ...'
       FROM functions WHERE NOT is_ours ORDER BY proname LIMIT 1),
    (SELECT 'opskit needs the name ' || quote_ident(tgname) || ' for a trigger of its own, and another trigger of ' || :'files'
            || ' has it; rename it: ALTER TRIGGER ' || quote_ident(tgname) || ' ON ' || quote_ident(:'files') || ' RENAME TO ...'
       FROM triggers
      WHERE tgname IN (:'guard', :'guard_new', :'wake') AND tgfoid NOT IN (SELECT oid FROM functions)
      ORDER BY tgname LIMIT 1)) AS problem
\gset
