-- The names of both environments' files tables (psql only; Python: doctor.py).
SELECT :'table' AS production_files, 'dev_' || :'table' AS development_files \gset
