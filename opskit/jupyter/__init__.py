"""What lives in a notebook."""

from opskit.database.scratch import Scratch, scratch
from opskit.jupyter.notebooks import copy, open_lab, samples, url_in, welcome
from opskit.local.nodes import work

__all__ = ["Scratch", "copy", "open_lab", "samples", "scratch", "url_in", "welcome", "work"]
