-- The model: empty temporary tables on which the migration's own statements are run, so that PostgreSQL itself says
-- what each of them would make here, and what is there can be held against it. This one has the columns of the files
-- table; the statement that makes it is answered, or no row where there is no table yet.
SELECT pg_catalog.format('CREATE TEMP TABLE %I (LIKE %I.%1$I)', :'files'::text, current_schema()) AS model
 WHERE to_regclass(quote_ident(:'files')) IS NOT NULL
\gexec
