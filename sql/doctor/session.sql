-- Who asks, and by which clock the database judges.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/session.sql
\ir ../_session.sql
SELECT quote_ident(current_user) AS role, clock_timestamp() AS now;
