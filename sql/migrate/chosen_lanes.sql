-- The column that was chosen for the lanes last; lane is NULL where they were switched off again. No row: never chosen.
SELECT details ->> 'column' AS lane FROM :"events"
 WHERE kind <> 'attempt' AND kind = 'migrate' AND outcome = 'lanes' AND details ->> 'table' = :'files'
 ORDER BY id DESC LIMIT 1;
