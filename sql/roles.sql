-- Roles with as few rights as they need, for one environment's tables: a node's, an operator's and a viewer's.
--
-- psql "$DATABASE_URL" -v env=development -f sql/roles.sql
--
-- node       name of the nodes' role (default opskit_node): claims, finishes, beats, reaps; changes no column of the
--            application's, cannot insert or delete files, and deletes nothing else either
-- operator   name of the operators' role (default opskit_operator): what nodes may, and pause, resume, enqueue, prune
-- viewer     name of the viewers' role (default opskit_viewer): reads; for the page with OPSKIT_READ_ONLY=1, and notebooks
--
-- The roles cannot log in by themselves: GRANT opskit_node TO the user that your nodes use. Run it again after each
-- upgrade, and at will: it also takes back what an earlier version gave too much. What your processor writes needs
-- rights of its own.
\ir _session.sql
\if :{?node} \else \set node opskit_node \endif
\if :{?operator} \else \set operator opskit_operator \endif
\if :{?viewer} \else \set viewer opskit_viewer \endif
-- In one transaction: a node that is at work meanwhile never lacks a right.
BEGIN;
SELECT pg_catalog.format('CREATE ROLE %I NOLOGIN', name)
  FROM pg_catalog.unnest(ARRAY[:'node', :'operator', :'viewer']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
REVOKE UPDATE ON :"files" FROM :"node", :"operator";
REVOKE DELETE ON :"nodes", :"events", :"logs" FROM :"node";
GRANT SELECT ON :"files" TO :"node", :"operator";
-- Our columns alone. Without a right on the whole table nobody can lock it against the others, either.
SELECT pg_catalog.format('GRANT UPDATE (%s) ON %s TO %I, %I', pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum),
              attrelid::regclass, :'node', :'operator')
  FROM pg_attribute
 WHERE attrelid = to_regclass(quote_ident(:'files')) AND attname LIKE 'processing\_%' AND NOT attisdropped
 GROUP BY attrelid
\gexec
GRANT SELECT, INSERT, UPDATE ON :"nodes" TO :"node", :"operator";
GRANT SELECT, INSERT ON :"events" TO :"node", :"operator";
GRANT DELETE ON :"nodes", :"events" TO :"operator";
-- A node opens and closes the breaker. It may not end a pause: a row of an operator's can only be deleted.
GRANT SELECT, INSERT, UPDATE (at, actor, reason, details, next_probe_at, probe_seconds, closed_at) ON :"pauses" TO :"node";
-- What attempts have said. Viewers get it as well once you say: GRANT SELECT ON the table of logs.
GRANT SELECT, INSERT, UPDATE ON :"logs" TO :"node", :"operator";
GRANT DELETE ON :"logs" TO :"operator";
GRANT INSERT ON :"files" TO :"operator";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"pauses" TO :"operator";
GRANT SELECT ON :"files", :"nodes", :"events", :"pauses" TO :"viewer";
-- Whoever inserts draws the id, where a sequence of the application's makes it.
SELECT DISTINCT pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO %I', s.oid::regclass, :'operator')
  FROM pg_attrdef AS a
  JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
 WHERE a.adrelid = to_regclass(quote_ident(:'files'))
\gexec
COMMIT;
