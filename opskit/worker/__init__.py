"""One node: `python -m opskit.worker`. It imports nothing: `python -m opskit.worker.child` would warn about it."""
