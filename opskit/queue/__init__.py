"""The queue: who may take a file, under what token, and how it ends."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opskit.files.listing import expand
    from opskit.queue.adopting import adopt
    from opskit.queue.cancelling import Cancellation, cancel, preview_cancel
    from opskit.queue.control import drain, forget, pause, resume
    from opskit.queue.enqueuing import enqueue, insert
    from opskit.queue.expediting import expedite, preview_expedite
    from opskit.queue.nodes import prune
    from opskit.queue.reaper import Cleanup, Preview, cleanup, preview
    from opskit.queue.requeuing import Requeued, requeue
    from opskit.queue.undoing import Undo, preview_undo, undo
    from opskit.queue.uploading import upload
    from opskit.queue.watching import Watch

__all__ = [
    "Cancellation", "Cleanup", "Preview", "Requeued", "Undo", "Watch", "adopt", "cancel", "cleanup", "drain", "enqueue",
    "expand", "expedite", "forget", "insert", "pause", "preview", "preview_cancel", "preview_expedite", "preview_undo",
    "prune", "requeue", "resume", "undo", "upload",
]  # fmt: skip
_MODULES = {
    "opskit.files.listing": ("expand",),
    "opskit.queue.adopting": ("adopt",),
    "opskit.queue.cancelling": ("Cancellation", "cancel", "preview_cancel"),
    "opskit.queue.control": ("drain", "forget", "pause", "resume"),
    "opskit.queue.enqueuing": ("enqueue", "insert"),
    "opskit.queue.expediting": ("expedite", "preview_expedite"),
    "opskit.queue.nodes": ("prune",),
    "opskit.queue.reaper": ("Cleanup", "Preview", "cleanup", "preview"),
    "opskit.queue.requeuing": ("Requeued", "requeue"),
    "opskit.queue.undoing": ("Undo", "preview_undo", "undo"),
    "opskit.queue.uploading": ("upload",),
    "opskit.queue.watching": ("Watch",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A verb is imported on first use (PEP 562): a command that reads loads none that writes."""
        if name not in _HOMES:
            raise AttributeError(f"module 'opskit.queue' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return __all__
