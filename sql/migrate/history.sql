-- What an older version has kept in the tables beside uploaded_files moves to this table's own: events of its files, its
-- pauses, and nodes that hold a claim. Of a file whose id another table has, too, an event is moved only when its token or
-- its attempt says whose it is; the rest stays, and is counted in the history.
SELECT set_config('opskit.files', :'files', true),
       set_config('opskit.shared', ARRAY[:'shared_nodes', :'shared_events', :'shared_pauses']::text, true),
       set_config('opskit.own', ARRAY[:'nodes', :'events', :'pauses']::text, true);

DO $history$
DECLARE
    files constant text := current_setting('opskit.files');
    shared constant text[] := current_setting('opskit.shared')::text[];
    own constant text[] := current_setting('opskit.own')::text[];
    others constant regclass[] := ARRAY(
        SELECT c.oid::regclass FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname <> files
           AND t.tgname = c.relname || '_processing_guard' AND starts_with(c.relname::text, 'dev_') = starts_with(files, 'dev_'));
    common text[] := ARRAY(
        SELECT (SELECT pg_catalog.string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                  FROM pg_attribute AS a JOIN pg_attribute AS b ON b.attrelid = to_regclass(quote_ident(o)) AND b.attname = a.attname
                 WHERE a.attrelid = to_regclass(quote_ident(s)) AND a.attnum > 0 AND a.attname <> 'id'
                   AND NOT a.attisdropped AND NOT b.attisdropped)
          FROM ROWS FROM (pg_catalog.unnest(shared), pg_catalog.unnest(own)) WITH ORDINALITY AS t (s, o, n) ORDER BY n);
    possible text := 'false';
    joins text := '';
    moved bigint;
    unknown bigint;
    other regclass;
BEGIN
    FOREACH other IN ARRAY others LOOP
        joins := joins || pg_catalog.format(' LEFT JOIN %s AS o%s ON o%2$s.id::text = e.file_id', other, other::oid);
        possible := possible || pg_catalog.format(' OR o%s.id IS NOT NULL AND coalesce(o%1$s.processing_attempt, 0) >= coalesce(e.attempt, 0)', other::oid);
    END LOOP;
    EXECUTE pg_catalog.format('CREATE TEMP TABLE opskit_history ON COMMIT DROP AS
        SELECT e.id, CASE WHEN e.kind = ''migrate'' THEN coalesce(e.details ->> ''table'', '''') = $1
                          WHEN $2 THEN true
                          WHEN e.file_id IS NULL OR f.id IS NULL THEN false
                          WHEN e.token IN (f.processing_token, f.processing_done_token) THEN true
                          WHEN coalesce(f.processing_attempt, 0) < coalesce(e.attempt, 0) THEN false
                          WHEN %s THEN NULL ELSE true END AS is_ours
          FROM %I AS e LEFT JOIN %I AS f ON f.id::text = e.file_id%s', possible, shared[2], files, joins)
      USING files, pg_catalog.cardinality(others) = 0;
    EXECUTE pg_catalog.format('WITH gone AS (DELETE FROM %I WHERE id IN (SELECT id FROM opskit_history WHERE is_ours) RETURNING *)
                    INSERT INTO %I (%s) SELECT %3$s FROM gone ORDER BY id', shared[2], own[2], common[2]);
    GET DIAGNOSTICS moved = ROW_COUNT;
    SELECT count(*) INTO unknown FROM opskit_history WHERE is_ours IS NULL;
    EXECUTE pg_catalog.format('INSERT INTO %I (%s) SELECT %2$s FROM %I AS n
                     WHERE $1 OR EXISTS (SELECT FROM %I WHERE processing_status = ''processing'' AND processing_server_id = n.server_id)
                    ON CONFLICT DO NOTHING', own[1], common[1], shared[1], files) USING pg_catalog.cardinality(others) = 0;
    EXECUTE pg_catalog.format('INSERT INTO %I (%s) SELECT %2$s FROM %I ON CONFLICT DO NOTHING', own[3], common[3], shared[3]);
    EXECUTE pg_catalog.format('INSERT INTO %I (kind, outcome, actor, reason, details) VALUES (''migrate'', ''separated'', current_user, $1, $2)', own[2])
      USING pg_catalog.format('events moved here from %s: %s; left there, of files whose id another table has, too: %s', shared[2], moved, unknown),
            pg_catalog.jsonb_build_object('table', files, 'moved', moved, 'unknown', unknown);
    EXECUTE pg_catalog.format('SELECT count(*) FROM %I', shared[2]) INTO unknown;
    IF pg_catalog.cardinality(others) = 0 AND unknown = 0 THEN
        -- Nobody else has them.
        EXECUTE pg_catalog.format('DROP TABLE %I, %I, %I', shared[1], shared[2], shared[3]);
    END IF;
END $history$;
