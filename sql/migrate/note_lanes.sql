-- Note which column the lanes are to be, so that an index that is lost is missed and built again.
INSERT INTO :"events" (kind, outcome, actor, reason, details)
VALUES ('migrate', 'lanes', :'actor', CASE :'lane' WHEN '' THEN 'lanes are off' ELSE 'lanes: ' || :'lane' END,
        pg_catalog.jsonb_build_object('table', :'files'::text, 'column', nullif(:'lane', '')));
