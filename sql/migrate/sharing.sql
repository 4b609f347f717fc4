-- Other tables whose history an older version has kept here, and which are not migrated since.
SELECT DISTINCT details ->> 'table' AS name
  FROM :"events" WHERE kind = 'migrate' AND outcome = 'columns' AND details ->> 'table' <> :'files'
 ORDER BY name;
