-- How many effects each file has.
SELECT file_id, count(*) AS count FROM effects GROUP BY file_id;
