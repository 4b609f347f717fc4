-- Never queue behind a long reader: everything else would queue behind us (psql only; Python: schema.py).
SET lock_timeout = '800ms';
