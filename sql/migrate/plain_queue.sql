-- Where the column is there already as a plain timestamp: the default in UTC, whatever zone the application's sessions use.
ALTER TABLE :"files" ALTER COLUMN processing_queued_at SET DEFAULT (clock_timestamp() AT TIME ZONE 'UTC');
