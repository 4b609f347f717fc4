-- What is paused, since when, by whom and why.
--
-- psql "$DATABASE_URL" -v env=development -f sql/pauses.sql
--
-- Its kind is pause, an operator's, of a server ID or of all (*); or breaker, opened by nodes for an error (breaker.sql).
\ir _session.sql
SELECT btrim(scope) AS scope, at, actor, reason, kind FROM :"pauses" WHERE closed_at IS NULL ORDER BY kind DESC, scope;
