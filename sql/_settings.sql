-- What our statements depend on, whatever server, database and role say: a SET for each setting that is another.
--
-- psql runs what this answers (\gexec); Python does the same with each new session, and behind a pooler, where nothing
-- may live in a session, with each transaction (SET LOCAL).
--
-- A time-out that the connection itself was given (a URL's options, PGOPTIONS, a SET before) is meant, and stays. So
-- do the search path, the role, and default_transaction_read_only: who sets that wants nothing written. The encoding
-- that psql found out from its terminal stays; only one that a database or role forces on it goes.
SELECT 'SET ' || ours.name || ' = ' || quote_literal(wanted) AS statement
  FROM (VALUES ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('timezone', 'UTC'),
               ('bytea_output', 'hex'), ('extra_float_digits', '1'), ('xmlbinary', 'base64'), ('xmloption', 'content'),
               ('client_encoding', CASE current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END),
               ('standard_conforming_strings', 'on'), ('backslash_quote', 'safe_encoding'), ('array_nulls', 'on'),
               ('transform_null_equals', 'off'), ('quote_all_identifiers', 'off'), ('row_security', 'on'),
               ('exit_on_error', 'off'), ('client_min_messages', 'notice'), ('default_table_access_method', 'heap'),
               ('default_transaction_isolation', 'read committed'), ('default_transaction_deferrable', 'off'),
               ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'),
               ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')) AS ours (name, wanted)
 WHERE current_setting(ours.name, true) <> wanted
   AND CASE WHEN right(ours.name, 8) = '_timeout' OR ours.name = 'client_encoding'
            THEN (SELECT source FROM pg_settings AS s WHERE lower(s.name) = ours.name)
                 NOT IN ('client', 'session', CASE ours.name WHEN 'client_encoding' THEN 'default' ELSE '' END)
            ELSE true END
\gexec
