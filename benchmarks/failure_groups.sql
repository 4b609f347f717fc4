-- A million failures: how long it takes to group them, against a plain count of the same rows.
--
-- psql "$SCRATCH_DATABASE_URL" -f benchmarks/failure_groups.sql     (a migrated scratch database: it fills dev_uploaded_files)
--
-- The ratio of the two times depends less on the machine's load than the seconds do. Measured: 110 groups of a million
-- failures in 0.65 s of processor time, 9 times the count; cut out of the texts of the same rows it took 36 s.
\set env development
INSERT INTO dev_uploaded_files (original_filename, processing_status, processing_server_id, processing_started_at,
                                processing_completed_at, processing_attempt, processing_errors, processing_failure)
SELECT 'customer-' || n || '.csv', 'failed', 'node-' || n % 8, now(), now() - n * interval '1 second', 3,
       'Traceback:' || repeat(E'\n  File "/srv/app/acme/ledger.py", line 17, in process', 10)
       || E'\nacme.LedgerError: line ' || n || ' is no amount',
       jsonb_build_object('attempt', 3, 'error', 'acme.LedgerError: line # is no amount of kind ' || chr(65 + n % 37),
                          'place', 'acme/ledger.py in Ledger.read_' || n % 3)
  FROM generate_series(1, 1000000) AS n;
VACUUM ANALYZE dev_uploaded_files;
\timing on
SELECT count(*) FROM dev_uploaded_files WHERE processing_status = 'failed' AND deleted IS NOT TRUE;
\ir ../sql/failures.sql
