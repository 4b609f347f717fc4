-- Which columns the migration has added to the files table, and which of them are there.
SELECT DISTINCT name
  FROM :"events" CROSS JOIN LATERAL jsonb_array_elements_text(details -> 'added') AS name
 WHERE kind = 'migrate' AND outcome = 'columns' AND coalesce(details ->> 'table', :'files') = :'files'
   AND EXISTS (SELECT FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = name)
 ORDER BY name;
