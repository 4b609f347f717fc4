-- The sentence for a table without lanes (psql only).
DO $$ BEGIN RAISE EXCEPTION 'there are no lanes; run: opskit migrate --lane-column COLUMN'; END $$;
