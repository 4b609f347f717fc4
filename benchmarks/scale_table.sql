-- A large table: finished files over ninety days, one in fifty failed, as many claims as servers, and a queue.
-- :rows, :servers and :queued are put in by scale_table.py. One in fifty failed, in six ways: most texts differ in
-- numbers or ids, as those of real processors do.
INSERT INTO dev_uploaded_files (original_filename, storage_path, file_size, uploaded_at, processing_status,
    processing_server_id, processing_queued_at, processing_started_at, processing_completed_at, processing_errors,
    processing_attempt, processing_failures, processing_token, processing_done_token, processing_epoch, processing_result)
SELECT name, 's3://uploads/' || name, 1000 + n % 9000000, queued, status,
       'upload-node-' || lpad((n / 7 % 50)::text, 2, '0'), queued, started, ended,
       CASE WHEN status = 'failed' THEN
           CASE n / 50 % 6
                WHEN 0 THEN 'ValueError: line ' || n || ' has ' || n % 17 || ' fields where 12 are expected'
                WHEN 1 THEN 'UnicodeDecodeError: byte 0x' || to_hex(n % 256) || ' in position ' || n % 100000
                WHEN 2 THEN 'FileNotFoundError: s3://uploads/' || md5(n::text)::uuid || '/part-' || n % 9
                WHEN 3 THEN 'killed by signal 9, perhaps out of memory'
                WHEN 4 THEN 'Processing timeout: no progress for ' || 3600 + n % 60 || ' s on upload-node-' || n % 50
                ELSE 'KeyError: ' || n % 40 || repeat(E'\n  File "/srv/app/ledger.py", line ' || n % 900 || ', in parse', 6)
           END END,
       CASE WHEN status = 'failed' THEN 3 ELSE 1 END, CASE WHEN status = 'failed' THEN 3 ELSE 0 END, token, token, 1 + n / 500,
       CASE WHEN status = 'completed' THEN jsonb_build_object('records_processed', n % 5000, 'sha256', md5(n::text)) END
  FROM (SELECT n, CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END AS status, gen_random_uuid() AS token,
               (ARRAY['invoice','statement','orders','stock','returns'])[n % 5 + 1] || '-' || to_char(ended, 'YYYY-MM-DD')
               || '-' || lpad(n::text, 8, '0') || (ARRAY['.csv','.xlsx','.json'])[n % 3 + 1] AS name,
               ended - (3 + n % 90) * interval '1 second' AS queued, ended - (1 + n % 60) * interval '1 second' AS started,
               ended
          FROM (SELECT n, now() - (:rows - n + 1) * interval '90 days' / :rows AS ended
                  FROM generate_series(1, :rows) AS n) AS numbered) AS made;

INSERT INTO dev_uploaded_files (original_filename, processing_status, processing_server_id, processing_queued_at,
    processing_started_at, processing_attempt, processing_token, processing_epoch)
SELECT 'now-' || n || '.csv', 'processing', 'upload-node-' || lpad(n::text, 2, '0'), now(), now(), 1, gen_random_uuid(), 1
  FROM generate_series(0, :servers - 1) AS n
UNION ALL
SELECT 'next-' || n || '.csv', 'queued', NULL, now() + n * interval '1 ms', NULL, 0, NULL, NULL
  FROM generate_series(1, :queued) AS n;

INSERT INTO dev_processing_nodes (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds, token)
SELECT processing_server_id, gen_random_uuid(), 'host', 1, '1', now(), now(), now() + interval '1 d', 86400, processing_token
  FROM dev_uploaded_files WHERE processing_status = 'processing';

-- The attempts before a failure, and what operators did now and then.
INSERT INTO dev_processing_events (at, kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor)
SELECT processing_completed_at - (3 - attempt) * interval '20 s', 'attempt', 'raised',
       CASE attempt WHEN 3 THEN 'failed' ELSE 'queued' END, id::text, processing_server_id, gen_random_uuid(), attempt,
       processing_completed_at - (3 - attempt) * interval '20 s' - interval '5 s', processing_errors, processing_server_id
  FROM dev_uploaded_files, generate_series(1, 3) AS attempt WHERE processing_status = 'failed'
 ORDER BY 1;
INSERT INTO dev_processing_events (at, kind, server_id, reason, actor)
SELECT now() - n * interval '6 hours', (ARRAY['pause','resume','boot','stop'])[n % 4 + 1], '*', 'a new kernel', 'ann'
  FROM generate_series(1, 360) AS n;
