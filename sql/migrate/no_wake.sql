-- Leave the wake-up out: an insert notifies nobody, and nodes see a new file when they poll (OPSKIT_POLL_SECONDS).
ALTER TABLE :"files" DISABLE TRIGGER :"wake";
