"""The queue: who may take a file, under what token, and how it ends."""

from opskit.files.listing import expand
from opskit.queue.adopting import adopt
from opskit.queue.cancelling import Cancellation, cancel, preview_cancel
from opskit.queue.control import drain, forget, pause, resume
from opskit.queue.enqueuing import enqueue, insert
from opskit.queue.expediting import expedite
from opskit.queue.nodes import prune
from opskit.queue.reaper import Cleanup, Preview, cleanup, preview
from opskit.queue.requeuing import Requeued, requeue
from opskit.queue.undoing import Undo, preview_undo, undo
from opskit.queue.uploading import upload
from opskit.queue.watching import Watch

__all__ = [
    "Cancellation", "Cleanup", "Preview", "Requeued", "Undo", "Watch", "adopt", "cancel", "cleanup", "drain", "enqueue",
    "expand", "expedite", "forget", "insert", "pause", "preview", "preview_cancel", "preview_undo", "prune",
    "requeue", "resume", "undo", "upload",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
