-- Every recorded change of state, in order.
SELECT * FROM transitions ORDER BY n;
