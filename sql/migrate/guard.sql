-- The guard: what keeps the promises when the application writes its own UPDATEs. Fired only through its WHEN,
-- which a node's own statements never meet. In UTC, because a plain timestamp means UTC whoever writes it.
CREATE OR REPLACE FUNCTION :"guard"() RETURNS trigger LANGUAGE plpgsql SET TimeZone = 'UTC' AS $$
BEGIN
    IF NEW.processing_status = 'processing' THEN
        -- Claimed by somebody who knows no token, perhaps over our head: the old token must not fit any more.
        IF TG_OP = 'UPDATE' AND NEW.processing_token = OLD.processing_token
           AND (OLD.processing_status IS DISTINCT FROM 'processing'
                OR NEW.processing_server_id IS DISTINCT FROM OLD.processing_server_id) THEN
            NEW.processing_token := NULL;
            NEW.processing_epoch := NULL;
        END IF;
        NEW.processing_started_at := coalesce(NEW.processing_started_at, clock_timestamp());
    ELSIF NEW.processing_status IS DISTINCT FROM 'completed' THEN
        NEW.processing_token := NULL;
        NEW.processing_epoch := NULL;
        IF NEW.processing_status = 'queued' THEN
            NEW.processing_queued_at := coalesce(NEW.processing_queued_at, clock_timestamp());
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER :"guard"
    BEFORE UPDATE ON :"files" FOR EACH ROW
    WHEN (NEW.processing_status = 'queued' AND NEW.processing_queued_at IS NULL
          OR NEW.processing_status = 'processing'
             AND (NEW.processing_started_at IS NULL
                  OR NEW.processing_token = OLD.processing_token
                     AND (OLD.processing_status IS DISTINCT FROM 'processing'
                          OR NEW.processing_server_id IS DISTINCT FROM OLD.processing_server_id))
          OR NEW.processing_token IS NOT NULL AND NEW.processing_status IS DISTINCT FROM 'processing'
             AND NEW.processing_status IS DISTINCT FROM 'completed')
    EXECUTE FUNCTION :"guard"();

CREATE OR REPLACE TRIGGER :"guard_new"
    BEFORE INSERT ON :"files" FOR EACH ROW
    WHEN (NEW.processing_status = 'queued' AND NEW.processing_queued_at IS NULL
          OR NEW.processing_status = 'processing' AND NEW.processing_started_at IS NULL)
    EXECUTE FUNCTION :"guard"();
