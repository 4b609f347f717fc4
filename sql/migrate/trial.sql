-- The migration is tried on the copy that trial_copy.sql has made and the migration's own statements have changed: inserts as
-- the application makes them, before and after the cut-over, our own, and every way of a file through its states.
-- Answers one row; problem is NULL when all goes well. Where something does not, it says what, by whose doing, and what to do.
DO $trial$
DECLARE
    files constant text := current_setting('opskit.files');
    live constant regclass := current_setting('opskit.live')::oid::regclass;
    copy constant regclass := to_regclass(quote_ident(files));
    is_blank constant boolean := NOT EXISTS (SELECT FROM opskit_rows);
    is_well constant boolean := current_setting('opskit.well')::boolean;
    server constant text := rpad('opskit-trial-', 100, 'x');
    error constant text := rpad('an error ', 10000, 'x');
    given constant text := (SELECT pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                             WHERE attrelid = 'opskit_rows'::regclass AND attnum > 0);
    bare constant text := (SELECT pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                            WHERE attrelid = 'opskit_rows'::regclass AND attnum > 0 AND attname NOT LIKE 'processing\_%');
    claimed constant text := pg_catalog.format($$processing_status = 'processing', processing_server_id = %L, processing_epoch = 1,
        processing_started_at = clock_timestamp(), processing_completed_at = NULL, processing_done_token = NULL,
        processing_attempt = coalesce(processing_attempt, 0) + 1, processing_token = gen_random_uuid()$$, server);
    let_go constant text := 'processing_token = NULL, processing_epoch = NULL, processing_server_id = NULL, processing_started_at = NULL';
    requeued constant text := $$processing_status = 'queued', processing_queued_at = clock_timestamp(), processing_failures = 0,
        processing_completed_at = NULL, processing_done_token = NULL, $$ || let_go;
    completed constant text := $$processing_status = 'completed', processing_completed_at = clock_timestamp(), processing_errors = NULL,
        processing_failures = 0, processing_done_token = processing_token, processing_result = '{"trial": true}'$$;
    scenario text; what text; names text; vals text; found text; culprits text; passes boolean := false;
    one record; way record; done bigint; bad text;
    said text; context text; con text; col text; typ text; state text; fn text;
BEGIN
    -- The guard's body, into the function that the copy's triggers call.
    EXECUTE (SELECT pg_catalog.format('CREATE OR REPLACE FUNCTION %I.%I() RETURNS trigger LANGUAGE plpgsql AS %L', n.nspname, p.proname,
                           (SELECT prosrc FROM pg_proc WHERE proname = p.proname AND pronamespace = pg_my_temp_schema()))
               FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
              WHERE t.tgrelid = copy AND t.tgname = current_setting('opskit.guard'));

    -- A table of states that the application refers to has to have all of ours.
    FOR one IN SELECT k.conname, k.confrelid::regclass AS other, b.attname
                 FROM pg_constraint AS k
                 JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND a.attname = 'processing_status'
                 JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
                WHERE k.conrelid = live AND k.contype = 'f' AND pg_catalog.cardinality(k.conkey) = 1 LOOP
        EXECUTE pg_catalog.format('SELECT pg_catalog.string_agg(state, '', '') FROM pg_catalog.unnest(''{queued,processing,completed,failed}''::text[]) AS state
                         WHERE state NOT IN (SELECT %I::text FROM %s)', one.attname, one.other) INTO found;
        IF found IS NOT NULL THEN
            PERFORM set_config('opskit.problem', pg_catalog.format('processing_status of %s refers to %s (the foreign key %I), which lacks %s; '
                               'insert these states there', files, one.other, one.conname, found), true);
            RETURN;
        END IF;
    END LOOP;

    -- Our own insert: what needs a value and has no default is given as in the application's row (opskit enqueue --set).
    SELECT pg_catalog.string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
           pg_catalog.string_agg(CASE WHEN r.attname IS NOT NULL AND NOT is_blank THEN 'r.' || quote_ident(a.attname)
                           WHEN a.attname = 'file_size' OR a.attname = 'id' AND t.typcategory = 'N' THEN '1'
                           WHEN a.attname = 'uploaded_at' THEN 'now()'
                           WHEN a.attname = 'id' THEN quote_literal(gen_random_uuid())
                           WHEN t.typcategory = 'S' THEN quote_literal('trial') ELSE 'NULL' END, ', ' ORDER BY a.attnum)
      INTO names, vals
      FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
      LEFT JOIN pg_attribute AS r ON r.attrelid = 'opskit_rows'::regclass AND r.attname = a.attname
     WHERE a.attrelid = copy AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND (a.attname IN ('original_filename', 'storage_path', 'file_size')
            OR a.attname NOT LIKE 'processing\_%' AND NOT a.atthasdef AND a.attidentity = ''
               AND (a.attnotnull OR a.attname IN ('id', 'uploaded_at')));

    FOREACH scenario IN ARRAY '{nothing,theirs,cut over,ours,around}'::text[] LOOP
        -- Around the application's triggers goes only a row whose insert was refused because the application had given nothing.
        CONTINUE WHEN scenario IN ('theirs', 'cut over') AND (is_blank OR NOT is_well) OR scenario = 'around' AND NOT passes;
        BEGIN
            IF scenario = 'nothing' THEN
                -- Of no row of the table itself: a replica identity that is missing, and triggers that fire for each statement.
                SELECT quote_ident(attname) INTO found FROM pg_attribute
                 WHERE attrelid = live AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
                 ORDER BY attname = 'id', attname NOT LIKE 'processing\_%', attnum LIMIT 1;
                what := 'an update of a row';
                EXECUTE pg_catalog.format('UPDATE %s SET %s = %s WHERE false', live, coalesce(found, 'id'), coalesce(found, 'DEFAULT'));
            ELSIF scenario = 'theirs' THEN
                what := 'an insert of the application''s after the migration';
                EXECUTE pg_catalog.format('INSERT INTO %I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM opskit_rows', files, given, given);
                SET CONSTRAINTS ALL IMMEDIATE;
                what := 'to adopt a row without a status';
                EXECUTE pg_catalog.format('UPDATE %I SET processing_status = ''queued'', processing_queued_at = clock_timestamp() '
                               'WHERE processing_status IS NULL', files);
            ELSIF scenario = 'cut over' THEN
                what := 'an insert of the application''s after the cut-over';
                EXECUTE pg_catalog.format('ALTER TABLE %I ALTER COLUMN processing_status SET DEFAULT ''queued''', files);
                EXECUTE pg_catalog.format('INSERT INTO %I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM opskit_rows', files, bare, bare);
            ELSE
                what := 'an insert by opskit enqueue';
                IF scenario = 'around' THEN
                    EXECUTE pg_catalog.format('ALTER TABLE %I DISABLE TRIGGER USER', files);
                END IF;
                EXECUTE pg_catalog.format('INSERT INTO %I (%s, processing_status) SELECT %s, ''queued'' FROM %s', files, names, vals,
                               CASE WHEN is_blank THEN '(SELECT 1) AS r' ELSE 'opskit_rows AS r' END);
                GET DIAGNOSTICS done = ROW_COUNT;
                SET CONSTRAINTS ALL IMMEDIATE;
                IF scenario = 'around' THEN
                    EXECUTE pg_catalog.format('ALTER TABLE %I ENABLE TRIGGER USER', files);
                END IF;
                EXECUTE pg_catalog.format('SELECT count(*) FROM %I WHERE processing_status = ''queued''', files) INTO bad;
                IF done = 0 OR bad::bigint <> done THEN
                    RAISE SQLSTATE 'OP002';
                END IF;
                FOR way IN SELECT * FROM (VALUES
                        ('a claim', claimed, 'processing'),
                        ('the release of a claim', $$processing_status = 'queued', $$ || let_go, 'queued'),
                        ('a claim', claimed, 'processing'),
                        ('a failure that is tried again', pg_catalog.format($$processing_status = 'queued', processing_failures = 1,
                            processing_errors = %L, processing_queued_at = clock_timestamp(), $$, error) || let_go, 'queued'),
                        ('a claim', claimed, 'processing'),
                        ('a completion', completed, 'completed'),
                        ('to queue a file again', requeued, 'queued'),
                        ('a claim', claimed, 'processing'),
                        ('a failure', pg_catalog.format($$processing_status = 'failed', processing_failures = 3, processing_token = NULL,
                            processing_epoch = NULL, processing_completed_at = clock_timestamp(), processing_errors = %L$$, error), 'failed'),
                        ('to queue a file again', requeued, 'queued'),
                        ('a claim', claimed, 'processing'),
                        ('a completion', completed, 'completed')) AS ways (name, assignments, becomes) LOOP
                    what := way.name;
                    -- One after the other: a node has one file.
                    FOR one IN EXECUTE pg_catalog.format('SELECT id FROM %I', files) LOOP
                        EXECUTE pg_catalog.format('UPDATE %I SET %s WHERE id = $1', files, CASE way.becomes WHEN 'processing' THEN
                            replace(way.assignments, 'processing_epoch = 1', 'processing_epoch = (SELECT count(*) + 1 FROM '
                            || quote_ident(files) || ' WHERE processing_status = ''processing'')') ELSE way.assignments END) USING one.id;
                        GET DIAGNOSTICS done = ROW_COUNT;
                        SET CONSTRAINTS ALL IMMEDIATE;
                        EXECUTE pg_catalog.format('SELECT processing_status::text FROM %I WHERE id = $1 AND processing_status::text = $2
                                           AND (processing_server_id::text = $3 OR $2 = ''queued'')
                                           AND (processing_errors::text = $4 OR $2 <> ''failed'')', files)
                           INTO bad USING one.id, way.becomes, server, error;
                        IF done = 0 OR bad IS NULL THEN
                            RAISE SQLSTATE 'OP002';
                        END IF;
                    END LOOP;
                END LOOP;
            END IF;
            SET CONSTRAINTS ALL IMMEDIATE;
            RAISE SQLSTATE 'OP001';
        EXCEPTION
            WHEN SQLSTATE 'OP001' THEN NULL;
            WHEN SQLSTATE 'OP002' THEN
                SELECT pg_catalog.string_agg(quote_ident(tgname), ', ' ORDER BY tgname) INTO culprits FROM pg_trigger
                 WHERE tgrelid = copy AND (tgtype & 3) = 3 AND (tgtype & CASE what WHEN 'an insert by opskit enqueue' THEN 4 ELSE 16 END) <> 0
                   AND tgname NOT LIKE files || '\_processing\_%';
                PERFORM set_config('opskit.problem', pg_catalog.format('%s would have no effect, or another one: %s of %s changes what is written; %s',
                    what, coalesce('the trigger ' || culprits, 'the type or a default of a processing_ column'), files,
                    'have it leave the columns processing_... and opskit''s rows as they are'), true);
                RETURN;
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT, con = CONSTRAINT_NAME, col = COLUMN_NAME,
                                        typ = PG_DATATYPE_NAME, state = RETURNED_SQLSTATE;
                fn := substring(context FROM 'function "?(?!inline_code_block)([^\s"]+)');
                IF is_blank AND scenario = 'ours' AND what LIKE 'an insert%'
                   AND (fn IS NULL OR EXISTS (SELECT FROM pg_proc WHERE proname = split_part(fn, '(', 1) AND prosrc ~* '\mNEW\M')) THEN
                    -- What the application gives may well be let through; an empty table cannot tell.
                    passes := true;
                    CONTINUE;
                END IF;
                -- Indexes of the copy have names of their own: the table's is that of the same definition.
                found := (SELECT max(l.relname) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                            JOIN pg_index AS j ON j.indrelid = live JOIN pg_class AS l ON l.oid = j.indexrelid
                           WHERE i.indrelid = copy AND c.relname = con AND j.indisunique = i.indisunique
                             AND substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*') = substring(pg_get_indexdef(j.indexrelid) FROM ' USING .*'));
                IF found IS NOT NULL THEN
                    said := replace(said, con, found);
                    con := found;
                END IF;
                found := (SELECT pg_catalog.format('change the constraint %I, which is %s', conname, pg_get_constraintdef(oid))
                            FROM pg_constraint WHERE conrelid = live AND conname = con);
                PERFORM set_config('opskit.problem', pg_catalog.format('%s would fail: %s; %s', what, said, CASE
                    WHEN fn IS NOT NULL AND fn NOT LIKE '%\_processing\_guard(%' THEN pg_catalog.format('have the function %s let that pass', fn)
                    WHEN state = '55000' THEN pg_catalog.format('run: ALTER TABLE %I REPLICA IDENTITY FULL, or give it a primary key', files)
                    WHEN state = '23502' AND col <> '' THEN pg_catalog.format('run: ALTER TABLE %I ALTER COLUMN %I DROP NOT NULL', files, col)
                    WHEN found IS NOT NULL THEN found
                    WHEN con <> '' AND typ <> '' THEN pg_catalog.format('change the domain %s so that it lets that pass', typ)
                    WHEN con <> '' THEN pg_catalog.format('change or drop %I', con)
                    ELSE 'change what forbids it' END), true);
                RETURN;
        END;
    END LOOP;
END $trial$;

SELECT nullif(current_setting('opskit.problem'), '') AS problem
\gset
