-- Validate the constraints: a scan that lets reads and writes through.
ALTER TABLE :"files" VALIDATE CONSTRAINT :"state_check";

ALTER TABLE :"files" VALIDATE CONSTRAINT :"fence_check";
