"""What lives in a notebook."""

from opskit.database.scratch import Scratch, scratch
from opskit.jupyter.notebooks import copy, differing, open_lab, samples, url_in, welcome
from opskit.jupyter.replay import replay
from opskit.jupyter.report import report
from opskit.jupyter.trying import playground, refusing, try_all
from opskit.jupyter.watch import watch
from opskit.local.nodes import work

__all__ = [
    "Scratch", "copy", "differing", "open_lab", "playground", "refusing", "replay", "report", "samples", "scratch",
    "try_all", "url_in", "watch", "welcome", "work",
]  # fmt: skip
