"""The operator's page: what is going on, and the few things to do about it. Runs as `python -m opskit.web`."""

from __future__ import annotations
