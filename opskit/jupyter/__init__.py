"""What lives in a notebook."""

from opskit.database.scratch import Scratch, scratch
from opskit.jupyter.notebooks import copy, differing, open_lab, samples, url_in, welcome
from opskit.jupyter.replay import replay
from opskit.jupyter.report import report
from opskit.local.nodes import work

__all__ = [
    "Scratch", "copy", "differing", "open_lab", "replay", "report", "samples", "scratch", "url_in", "welcome", "work",
]  # fmt: skip
