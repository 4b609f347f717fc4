-- The wake-up: one notification a statement, however many rows it inserts. A hint; polling is the truth.
CREATE OR REPLACE FUNCTION :"wake"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('opskit_' || TG_TABLE_NAME, '');
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER :"wake" AFTER INSERT ON :"files" FOR EACH STATEMENT EXECUTE FUNCTION :"wake"();
