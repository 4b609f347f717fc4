-- Whether an older version has migrated this table and kept its nodes, history and pauses in those of uploaded_files: one
-- row; shares, and problem, which names a node that may still be working so (NULL when there is none).
--
-- A node that has claimed or completed a file of another table since it started serves that one.
SELECT set_config('opskit.files', :'files', true), set_config('opskit.shares', 'false', true), set_config('opskit.problem', '', true),
       set_config('opskit.shared_nodes', :'shared_nodes', true), set_config('opskit.shared_events', :'shared_events', true),
       set_config('opskit.events', :'events', true);

DO $shared$
DECLARE
    files constant text := current_setting('opskit.files');
    shares boolean;
    node record;
    other record;
    elsewhere boolean;
BEGIN
    IF current_setting('opskit.shared_events') = current_setting('opskit.events') OR to_regclass(quote_ident(files)) IS NULL
       OR to_regclass(quote_ident(current_setting('opskit.shared_events'))) IS NULL
       OR to_regclass(quote_ident(current_setting('opskit.shared_nodes'))) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %I WHERE kind = ''migrate'' AND outcome = ''columns'' AND details ->> ''table'' = $1)',
                   current_setting('opskit.shared_events')) INTO shares USING files;
    PERFORM set_config('opskit.shares', shares::text, true);
    IF NOT shares THEN
        RETURN;
    END IF;
    FOR node IN EXECUTE pg_catalog.format('SELECT server_id, first_epoch, started_at FROM %I WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL '
                               'ORDER BY server_id', current_setting('opskit.shared_nodes')) LOOP
        elsewhere := false;
        FOR other IN SELECT c.oid::regclass AS name FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                      WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname <> files
                        AND t.tgname = c.relname || '_processing_guard'
                        AND starts_with(c.relname::text, 'dev_') = starts_with(files, 'dev_') LOOP
            EXECUTE pg_catalog.format('SELECT $1 OR EXISTS (SELECT FROM %1$s WHERE processing_server_id = $2 AND processing_epoch >= $3 '
                           'AND processing_status = ''processing'')
                           OR EXISTS (SELECT FROM %1$s WHERE processing_server_id = $2 AND processing_epoch >= $3 '
                           'AND processing_status = ''completed'' AND processing_completed_at >= $4)', other.name)
               INTO elsewhere USING elsewhere, node.server_id, node.first_epoch, node.started_at;
        END LOOP;
        IF NOT elsewhere THEN
            PERFORM set_config('opskit.problem', pg_catalog.format('%s has shared its nodes and its history (%s) with another table until now, and the node '
                               '%s is alive there; stop the nodes of %s, which this version gives a history of its own, and migrate again',
                               files, current_setting('opskit.shared_events'), node.server_id, files), true);
            RETURN;
        END IF;
    END LOOP;
END $shared$;

SELECT current_setting('opskit.shares')::boolean AS shares, nullif(current_setting('opskit.problem'), '') AS problem
\gset
