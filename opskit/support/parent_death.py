"""A process ends when its parent does, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def end_with(parent: int, number: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends, however it ends.

    On Linux the kernel does it, so that a processor that holds the GIL is no excuse; elsewhere a thread looks.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    # It may have ended before we asked.
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), number)
