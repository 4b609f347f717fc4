"""Mutants: one-line changes that are faults, each of which a test must notice. See `kept.py`, `run.py`."""
