-- What is paused, since when, by whom and why.
--
-- psql "$DATABASE_URL" -v env=development -f sql/pauses.sql
\ir _session.sql
SELECT scope, at, actor, reason FROM :"pauses" ORDER BY scope;
