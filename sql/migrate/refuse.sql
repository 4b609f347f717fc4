-- What would make the migration unsafe: a relation that is no plain table, an id that is none, a rule in the way.
-- Answers one row; problem is NULL when there is none. (psql keeps it in a variable.)
WITH files AS MATERIALIZED (
    SELECT c.*, n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass(quote_ident(:'files'))
), ids AS MATERIALIZED (
    SELECT i.indisvalid, i.indimmediate
      FROM files JOIN pg_index AS i ON i.indrelid = files.oid
      JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id'
)
SELECT coalesce(
    (SELECT 'no schema of the search_path (' || current_setting('search_path') || ') is there; create it, or name another'
      WHERE current_schema() IS NULL),
    (SELECT :'files' || ' is a temporary table, which no node would see; drop it' FROM files WHERE relpersistence = 't'),
    -- A table elsewhere on the search path would be passed over, and a second, empty one made.
    (SELECT 'table ' || :'files' || ' is in schema ' || nspname || ', not in ' || current_schema()
            || '; put that schema first on the search_path'
       FROM files WHERE nspname <> current_schema()),
    -- A unique index of a partitioned table has to hold the partition key: one file at a time per node could not be promised.
    (SELECT :'files' || CASE relkind
                WHEN 'p' THEN ' is a partitioned table, whose partitions can have no unique index across them; give opskit'
                              ' a plain table for what is to be processed (OPSKIT_TABLE), and move ended rows to the partitions'
                WHEN 'v' THEN ' is a view; name the table behind it (OPSKIT_TABLE)'
                WHEN 'm' THEN ' is a materialized view; name the table behind it (OPSKIT_TABLE)'
                WHEN 'f' THEN ' is a foreign table; run opskit on the database that holds its rows'
                ELSE ' is no table; name the table of the files (OPSKIT_TABLE), or rename what has its name' END
       FROM files WHERE relkind <> 'r'),
    (SELECT :'files' || ' is a partition of ' || i.inhparent::regclass || '; give opskit a plain table, or run: ALTER TABLE '
            || i.inhparent::regclass || ' DETACH PARTITION ' || files.oid::regclass
       FROM files JOIN pg_inherits AS i ON i.inhrelid = files.oid WHERE files.relispartition),
    (SELECT :'files' || ' inherits from ' || i.inhparent::regclass || '; give opskit a table of its own, or run: ALTER TABLE '
            || files.oid::regclass || ' NO INHERIT ' || i.inhparent::regclass
       FROM files JOIN pg_inherits AS i ON i.inhrelid = files.oid ORDER BY i.inhseqno LIMIT 1),
    (SELECT :'files' || ' has the child table ' || i.inhrelid::regclass || ', whose rows its indexes and triggers do not see; '
            'give opskit a plain table, or run: ALTER TABLE ' || i.inhrelid::regclass || ' NO INHERIT ' || files.oid::regclass
       FROM files JOIN pg_inherits AS i ON i.inhparent = files.oid ORDER BY i.inhrelid LIMIT 1),
    (SELECT :'files' || ' is a table of the type ' || reloftype::regtype || ', which can get no columns; run: ALTER TABLE '
            || oid::regclass || ' NOT OF'
       FROM files WHERE reloftype <> 0),
    (SELECT 'table ' || :'files' || ' has no column id; opskit needs one that identifies a row'
       FROM files
      WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = files.oid AND attname = 'id' AND NOT attisdropped)),
    -- With two rows of one id, one claim would take both.
    (SELECT 'id of ' || :'files' || CASE WHEN EXISTS (SELECT FROM ids WHERE indisvalid)
                THEN ' is unique only at the end of a transaction (DEFERRABLE)' ELSE ' is not unique' END
            || '; run: CREATE UNIQUE INDEX CONCURRENTLY ON ' || quote_ident(:'files') || ' (id)'
       FROM files WHERE NOT EXISTS (SELECT FROM ids WHERE indisvalid AND indimmediate)),
    -- A claim is an UPDATE within WITH, and answers RETURNING: neither goes through a rule.
    (SELECT 'the rule ' || quote_ident(r.rulename) || ' of ' || :'files' || ' changes what '
            || CASE r.ev_type WHEN '2' THEN 'UPDATE' ELSE 'INSERT' END
            || ' does, and nodes cannot work through it; have a trigger do its work, and run: DROP RULE '
            || quote_ident(r.rulename) || ' ON ' || files.oid::regclass
       FROM files JOIN pg_rewrite AS r ON r.ev_class = files.oid
      WHERE r.ev_enabled <> 'D' AND (r.ev_type = '2' OR r.ev_type = '3' AND r.is_instead)
      ORDER BY r.rulename LIMIT 1)) AS problem,
    -- A foreign status can only be looked for where there is the column.
    EXISTS (SELECT FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = 'processing_status') AS has_status,
    (SELECT data_type = 'timestamp without time zone' FROM information_schema.columns
      WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = 'processing_queued_at') IS TRUE AS plain_queue
\gset
