"""The sample files that come with the package."""

from __future__ import annotations

from opskit.support.resources import folder

SAMPLES = folder("samples")
