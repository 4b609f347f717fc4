-- The guard: the promises that no index can keep, held against whatever is written to the table, by whomever.
--
-- It refuses a state that does not exist, a claim without its owner, and a zombie's late completion; it mends what an
-- application that knows no tokens leaves behind. One plain trigger, and no CHECK constraints and no WHEN: PostgreSQL
-- parses their expressions anew for every statement, which cost a file more than all the rest of its two updates
-- (528,000 of 1,064,000 instructions). The first question lets a node's own two updates pass, so that they are asked
-- no second one: PL/pgSQL makes each expression ready anew in every transaction.
CREATE OR REPLACE FUNCTION :"guard"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (CASE NEW.processing_status
             WHEN 'processing' THEN NEW.processing_token <> OLD.processing_token IS NOT FALSE
                                    AND NEW.processing_server_id IS NOT NULL AND NEW.processing_epoch IS NOT NULL
                                    AND NEW.processing_started_at IS NOT NULL
             WHEN 'completed' THEN NEW.processing_token = NEW.processing_done_token
        END) THEN
        RETURN NEW;
    END IF;
    -- Times go in as text with a zone: a plain timestamp ignores that zone and a timestamptz heeds it, so that both
    -- are right whatever the session's zone is.
    IF NEW.processing_status = 'processing' THEN
        -- Claimed by somebody who knows no token, perhaps over our head: the old token must not fit any more.
        IF NEW.processing_token = OLD.processing_token
           AND (OLD.processing_status IS DISTINCT FROM 'processing'
                OR NEW.processing_server_id IS DISTINCT FROM OLD.processing_server_id) THEN
            NEW.processing_token := NULL;
            NEW.processing_epoch := NULL;
        END IF;
        IF NEW.processing_started_at IS NULL THEN
            NEW.processing_started_at := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00"');
        END IF;
        IF NEW.processing_token IS NOT NULL AND (NEW.processing_server_id IS NULL OR NEW.processing_epoch IS NULL) THEN
            RAISE check_violation USING TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_processing_fence',
                MESSAGE = pg_catalog.format('file %s: a claim under a token needs processing_server_id and processing_epoch '
                                 '(%s_processing_fence)', NEW.id, TG_TABLE_NAME);
        END IF;
    ELSIF NEW.processing_status = 'completed' THEN
        IF NEW.processing_token IS NOT NULL AND NEW.processing_token IS DISTINCT FROM NEW.processing_done_token THEN
            RAISE check_violation USING TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_processing_fence',
                MESSAGE = pg_catalog.format('file %s is held by %s under a token, and only who has that token may complete it '
                                 '(%s_processing_fence)', NEW.id, NEW.processing_server_id, TG_TABLE_NAME);
        END IF;
    ELSIF NEW.processing_status IS NULL OR NEW.processing_status IN ('queued', 'failed') THEN
        IF NEW.processing_token IS NOT NULL THEN
            NEW.processing_token := NULL;
            NEW.processing_epoch := NULL;
        END IF;
        -- Failed again by somebody who knows no identity, perhaps in the same attempt: the former one is not this one's.
        IF NEW.processing_failure = OLD.processing_failure
           AND NEW.processing_errors IS DISTINCT FROM OLD.processing_errors THEN
            NEW.processing_failure := NULL;
        END IF;
        IF NEW.processing_status = 'queued' AND NEW.processing_queued_at IS NULL THEN
            NEW.processing_queued_at := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00"');
        END IF;
    ELSE
        RAISE check_violation USING TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_processing_state',
            MESSAGE = pg_catalog.format('file %s: processing_status %L is none of queued, processing, completed, failed '
                             '(%s_processing_state)', NEW.id, NEW.processing_status, TG_TABLE_NAME);
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER :"guard"
    BEFORE UPDATE ON :"files" FOR EACH ROW EXECUTE FUNCTION :"guard"();

-- Here a WHEN pays: a bulk insert parses it once and then calls the function for no row that is simply queued.
CREATE OR REPLACE TRIGGER :"guard_new"
    BEFORE INSERT ON :"files" FOR EACH ROW
    WHEN (NEW.processing_status <> 'queued' OR NEW.processing_queued_at IS NULL OR NEW.processing_token IS NOT NULL)
    EXECUTE FUNCTION :"guard"();
