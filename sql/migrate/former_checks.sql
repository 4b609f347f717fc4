-- The CHECK constraints of an older version go: the guard refuses what they refused, at a tenth of their cost.
ALTER TABLE :"files"
    DROP CONSTRAINT IF EXISTS :"state_check",
    DROP CONSTRAINT IF EXISTS :"fence_check";
