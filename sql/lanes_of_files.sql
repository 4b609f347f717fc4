-- The lanes of given files.
--
-- psql "$DATABASE_URL" -v env=development -v ids='{17,18}' -f sql/lanes_of_files.sql
--
-- ids   the files, as an array literal
\ir _session.sql
\ir _lane.sql
\if :{?lane}
\else
\ir _no_lanes.sql
\endif
SELECT id::text AS id, f.:"lane"::text AS lane FROM :"files" AS f WHERE id = ANY (:'ids') ORDER BY id;
