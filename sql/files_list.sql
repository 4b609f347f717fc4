-- The files by their last event, newest first: bounded, each state read from the end of its own index.
--
-- psql "$DATABASE_URL" -v env=development -v status=failed -v search=invoice -f sql/files_list.sql
--
-- status      only this state: queued, processing, completed, failed, or none for rows without one (default '': all with one)
-- server_id   only this server's (default '': all)
-- search      only files whose name contains this, in any case (default '': all)
-- of_lane     only files of this lane, (none) for those without one (default '': all)
-- ids         these files as well, however old, as an array literal (default '{}')
-- search_rows   how many files, the newest of their state, are searched for name or lane (default 100000)
-- before_at, before_id   only what comes after this file: its last_at (-infinity where it has none) and its id
--             (default '': from the newest on); rows without a status come in no order and have no such place
-- row_limit   most rows (default 200)
--
-- No index of ours holds names, and to read ten million rows takes many seconds: a name is looked for among the newest.
\ir _session.sql
\ir _lane.sql
\if :{?status} \else \set status '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?search} \else \set search '' \endif
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?search_rows} \else \set search_rows 100000 \endif
\if :{?before_at} \else \set before_at '' \endif
\if :{?before_id} \else \set before_id '' \endif
\if :{?row_limit} \else \set row_limit 200 \endif
WITH dated AS (
    (SELECT f.*, processing_queued_at AS last_at FROM :"files" AS f
      WHERE :'status' IN ('', 'queued') AND :'server_id' = ''
        AND processing_status = 'queued' AND deleted IS NOT TRUE
        AND processing_queued_at <= coalesce(nullif(:'before_at', '')::timestamptz, 'infinity')
        AND (processing_queued_at < coalesce(nullif(:'before_at', '')::timestamptz, 'infinity') OR id::text > :'before_id')
      ORDER BY processing_queued_at DESC, id::text
      LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN :'row_limit'::int ELSE :'search_rows'::int END)
    UNION ALL
    (SELECT f.*, processing_started_at FROM :"files" AS f
      WHERE :'status' IN ('', 'processing') AND processing_status = 'processing' AND deleted IS NOT TRUE
        AND (:'server_id' = '' OR processing_server_id = :'server_id')
        AND processing_started_at <= coalesce(nullif(:'before_at', '')::timestamptz, 'infinity')
        AND (processing_started_at < coalesce(nullif(:'before_at', '')::timestamptz, 'infinity') OR id::text > :'before_id')
      ORDER BY processing_started_at DESC, id::text
      LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN :'row_limit'::int ELSE :'search_rows'::int END)
    UNION ALL
    (SELECT f.*, processing_completed_at FROM :"files" AS f
      WHERE :'status' IN ('', 'completed') AND processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
        AND (:'status' = '' OR processing_status = 'completed')
        AND (:'server_id' = '' OR processing_server_id = :'server_id')
        AND processing_completed_at <= coalesce(nullif(:'before_at', '')::timestamptz, 'infinity')
        AND (processing_completed_at < coalesce(nullif(:'before_at', '')::timestamptz, 'infinity') OR id::text > :'before_id')
      ORDER BY processing_completed_at DESC, id::text
      LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN :'row_limit'::int ELSE :'search_rows'::int END)
    UNION ALL
    (SELECT f.*, processing_completed_at FROM :"files" AS f
      WHERE :'status' = 'failed' AND processing_status = 'failed' AND deleted IS NOT TRUE
        AND (:'server_id' = '' OR processing_server_id = :'server_id')
        AND processing_completed_at <= coalesce(nullif(:'before_at', '')::timestamptz, 'infinity')
        AND (processing_completed_at < coalesce(nullif(:'before_at', '')::timestamptz, 'infinity') OR id::text > :'before_id')
      ORDER BY processing_completed_at DESC NULLS LAST, id::text
      LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN :'row_limit'::int ELSE :'search_rows'::int END)
), undated AS (
    -- What an older processor ended without saying when comes last, and is read only once there is room for it.
    SELECT f.*, NULL::timestamptz AS last_at FROM :"files" AS f
     WHERE :'status' IN ('', 'completed', 'failed') AND processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
       AND (:'status' = '' OR processing_status = :'status')
       AND (:'server_id' = '' OR processing_server_id = :'server_id')
       AND processing_completed_at IS NULL
       AND (:'before_at' <> '-infinity' OR id::text > :'before_id')
     ORDER BY id::text
     LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN greatest(0, :'row_limit'::int - (SELECT count(*) FROM dated))
                ELSE :'search_rows'::int END
), unasked AS (
    SELECT f.*, uploaded_at AS last_at FROM :"files" AS f
     WHERE :'status' = 'none' AND :'server_id' = '' AND processing_status IS NULL AND deleted IS NOT TRUE
     ORDER BY uploaded_at DESC NULLS LAST
     LIMIT CASE WHEN :'search' || :'of_lane' = '' THEN :'row_limit'::int ELSE :'search_rows'::int END
), asked AS (
    -- By its id a file is found however old it is.
    SELECT f.*, CASE processing_status WHEN 'queued' THEN processing_queued_at WHEN 'processing' THEN processing_started_at
                     WHEN 'completed' THEN processing_completed_at WHEN 'failed' THEN processing_completed_at
                     ELSE uploaded_at END AS last_at
      FROM :"files" AS f
     WHERE id = ANY (:'ids') AND deleted IS NOT TRUE AND :'before_at' = ''
       AND (:'status' = '' OR coalesce(processing_status, 'none') = :'status')
       AND (:'server_id' = '' OR processing_server_id = :'server_id')
)
SELECT id::text AS id, original_filename, processing_status, processing_server_id, last_at, file_size,
       processing_attempt, coalesce(processing_failures, 0) AS processing_failures, processing_errors,
       CASE :'lane_column' WHEN 'processing_status' THEN NULL ELSE :"lane_column"::text END AS lane
  FROM (SELECT * FROM (SELECT * FROM dated UNION ALL SELECT * FROM undated UNION ALL SELECT * FROM unasked) AS newest
         WHERE (:'search' = '' OR strpos(lower(original_filename::text), lower(:'search')) > 0) AND id <> ALL (:'ids')
        UNION ALL SELECT * FROM asked) AS found
 WHERE :'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane'
 ORDER BY last_at DESC NULLS LAST, id
 LIMIT :'row_limit'::int;
