-- What the migration is tried on: a temporary copy of the files table under the same name, with its defaults, constraints,
-- indexes and triggers, and up to three of its newest rows. The transaction in which this is made is rolled back; the
-- table itself is only read. Answers whether there is a copy: where none can be made, trial.sql must not run.
SELECT set_config('opskit.files', :'files', true), set_config('opskit.guard', :'guard', true), set_config('opskit.problem', '', true),
       set_config('opskit.ours', ARRAY[:'guard', :'guard_new', :'wake']::text, true),
       set_config('opskit.checks', ARRAY[:'state_check', :'fence_check']::text, true),
       set_config('opskit.copied', 'false', true), set_config('opskit.well', 'false', true),
       set_config('opskit.live', coalesce(to_regclass(quote_ident(:'files'))::oid::text, '0'), true);

DO $trial$
DECLARE
    files constant text := current_setting('opskit.files');
    live constant regclass := to_regclass(quote_ident(files));
    ours constant text[] := current_setting('opskit.ours')::text[];
    columns text;
    bytes text;
    one record;
    count int;
BEGIN
    IF live IS NULL OR NOT has_database_privilege(current_database(), 'TEMP') THEN
        RETURN;
    END IF;
    SELECT pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE attgenerated = ''),
           pg_catalog.string_agg(pg_catalog.format('coalesce(pg_column_size(%I), 0)', attname), ' + ')
      INTO columns, bytes
      FROM pg_attribute WHERE attrelid = live AND attnum > 0 AND NOT attisdropped;
    BEGIN
        -- A row with a large value in it is not copied.
        EXECUTE pg_catalog.format('CREATE TEMP TABLE opskit_rows AS SELECT %s FROM %s WHERE id IN (SELECT id FROM (SELECT id, %s AS bytes FROM %s '
                       'ORDER BY id DESC LIMIT 30) AS newest WHERE bytes < 500000 ORDER BY id DESC LIMIT 3)', columns, live, bytes, live);
        EXECUTE pg_catalog.format('CREATE TEMP TABLE %I (LIKE %s INCLUDING ALL EXCLUDING COMMENTS EXCLUDING STATISTICS)', files, live);
    EXCEPTION WHEN OTHERS THEN
        -- A constraint over whole rows, for one, cannot be copied.
        RETURN;
    END;
    PERFORM set_config('search_path', 'pg_temp, ' || current_setting('search_path'), true);
    FOR one IN SELECT conname FROM pg_constraint
                WHERE conrelid = to_regclass(quote_ident(files)) AND conname = ANY (current_setting('opskit.checks')::text[]) LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %I DROP CONSTRAINT %I', files, one.conname);
    END LOOP;
    -- A sequence that moves is not rolled back: such values come from the rows.
    FOR one IN SELECT a.attname FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE d.adrelid = to_regclass(quote_ident(files)) AND a.attgenerated = ''
                  AND pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%' LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I DROP DEFAULT', files, one.attname);
    END LOOP;

    -- Rows that pass no constraint of today's (NOT VALID) tell nothing of those to come.
    FOR one IN SELECT ctid FROM opskit_rows LOOP
        BEGIN
            EXECUTE pg_catalog.format('INSERT INTO %I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM opskit_rows WHERE ctid = $1', files, columns, columns)
              USING one.ctid;
            RAISE SQLSTATE 'OP001';
        EXCEPTION WHEN SQLSTATE 'OP001' THEN NULL;
                  WHEN OTHERS THEN DELETE FROM opskit_rows WHERE ctid = one.ctid;
        END;
    END LOOP;
    SELECT count(*) INTO count FROM opskit_rows;
    IF count = 0 THEN
        -- Without any, a row of which the application has given nothing: what it must give is not asked for.
        FOR one IN SELECT attname FROM pg_attribute AS a
                    WHERE attrelid = to_regclass(quote_ident(files)) AND attnum > 0 AND NOT attisdropped AND attnotnull
                      AND attname <> 'id' AND attname NOT LIKE 'processing\_%' AND NOT atthasdef AND attidentity = '' LOOP
            BEGIN
                EXECUTE pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I DROP NOT NULL', files, one.attname);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END IF;

    FOR one IN SELECT t.tgname, replace(pg_get_triggerdef(t.oid), pg_catalog.format(' ON %I.%I ', n.nspname, c.relname), pg_catalog.format(' ON %I ', files)) AS made
                 FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE t.tgrelid = live AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgname <> ALL (ours)
                ORDER BY t.tgname LOOP
        BEGIN
            EXECUTE one.made;
        EXCEPTION WHEN OTHERS THEN NULL;  -- one that cannot stand on a temporary table
        END;
    END LOOP;
    -- Whether the application's inserts, as they are in these rows, go through its triggers at all when we make them.
    BEGIN
        EXECUTE pg_catalog.format('INSERT INTO %I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM opskit_rows', files, columns, columns);
        SET CONSTRAINTS ALL IMMEDIATE;
        RAISE SQLSTATE 'OP001';
    EXCEPTION WHEN SQLSTATE 'OP001' THEN PERFORM set_config('opskit.well', (count > 0)::text, true);
              WHEN OTHERS THEN NULL;
    END;
    -- Functions are never looked for among temporary ones: a stand-in, until trial.sql puts the guard into it.
    IF to_regprocedure(quote_ident(current_setting('opskit.guard')) || '()') IS NULL THEN
        EXECUTE pg_catalog.format('CREATE FUNCTION %I.%I() RETURNS trigger LANGUAGE plpgsql AS %L',
                       (SELECT nspname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE pg_class.oid = live),
                       current_setting('opskit.guard'), 'BEGIN RETURN NEW; END');
    END IF;
    PERFORM set_config('opskit.copied', 'true', true);
END $trial$;

SELECT current_setting('opskit.copied') = 'true' AS copied
\gset
