"""The built-in processors, at the addresses that `--processor` takes."""

from __future__ import annotations

from opskit.files.inspecting import inspect_file
from opskit.files.loading import load_table

__all__ = ["inspect_file", "load_table"]
