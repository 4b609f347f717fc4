-- Rows with a status that is not ours: the migration is refused before anything is changed, and they are listed.
-- Answers one row; NULL when there is none.
SELECT 'processing_status of ' || :'files' || ' holds ' || pg_catalog.string_agg(quote_literal(status) || ' (' || count || CASE count WHEN 1 THEN ' row)' ELSE ' rows)' END, ', ')
       || '; opskit knows queued, processing, completed, failed. Change these rows first' AS problem
  FROM (SELECT processing_status AS status, count(*) AS count FROM :"files"
         WHERE processing_status NOT IN ('queued', 'processing', 'completed', 'failed')
         GROUP BY processing_status ORDER BY count(*) DESC LIMIT 10) AS foreign_statuses
\gset
