-- The names of both environments' files tables (psql only; Python: opskit/doctor/).
SELECT :'table' AS production_files, 'dev_' || :'table' AS development_files \gset
