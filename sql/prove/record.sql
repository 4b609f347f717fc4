-- Record every change of state in a scratch schema, and give processors a table for their effects.
CREATE TABLE effects (
    n bigint GENERATED ALWAYS AS IDENTITY,
    file_id text,
    token uuid,
    server_id text
);

CREATE TABLE transitions (
    n bigint GENERATED ALWAYS AS IDENTITY,
    file_id text,
    was text,
    became text,
    server_was text,
    server_id text,
    token_was uuid,
    token uuid,
    at timestamptz DEFAULT clock_timestamp()
);

CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transitions (file_id, was, became, server_was, server_id, token_was, token)
    VALUES (NEW.id::text, OLD.processing_status, NEW.processing_status, OLD.processing_server_id,
            NEW.processing_server_id, OLD.processing_token, NEW.processing_token);
    RETURN NULL;
END $$;

CREATE TRIGGER zz_write_down AFTER UPDATE ON :"files" FOR EACH ROW
    WHEN (OLD.processing_status IS DISTINCT FROM NEW.processing_status
          OR OLD.processing_token IS DISTINCT FROM NEW.processing_token)
    EXECUTE FUNCTION write_down();
