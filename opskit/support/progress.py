"""Progress of long work: one record for every door, and a bar in notebooks."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from opskit.support.wording import count

DELAY_SECONDS = 1.0
"""A call that takes no longer shows no bar in a notebook [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a long piece of work is.

    Attributes:
        text: What is being done, and how far it is, in words.
        share: How much of it is done, 0 to 1; None where nobody knows.
        done: How many are done; None where nothing is counted.
        total: How many there are; None where nobody knows.
    """

    text: str
    share: float | None = None
    done: int | None = None
    total: int | None = None


OnProgress = Callable[[Progress], None]
"""A function that is called with the progress of long work."""


@contextlib.contextmanager
def counting(
    what: str, unit: str, *, total: int | None = None, on_progress: OnProgress | None = None
) -> Iterator[Callable[[int], None]]:
    """Report how many are done to the caller's function, else to a bar in a notebook, else to nobody.

    Args:
        what: What is being done, in a word such as "queueing".
        unit: Of what, in the singular.
        total: How many there are. Defaults to not known.
        on_progress: The caller's own. Defaults to a bar of tqdm in a notebook, elsewhere to nothing.
    """
    if on_progress is not None:
        yield lambda done: on_progress(_counted(what, unit, done, total))
        return
    tqdm = _tqdm() if _in_notebook() else None
    if tqdm is None:
        yield lambda _: None
        return
    # On stdout: what stands on stderr is shown in red, as an alarm.
    with tqdm(desc=what, unit=f" {unit}s", total=total, delay=DELAY_SECONDS, leave=False, file=sys.stdout) as bar:
        yield lambda done: bar.update(done - bar.n)


def _counted(what: str, unit: str, done: int, total: int | None) -> Progress:
    if total is None:
        return Progress(text=f"{what}: {count(done, unit)}", done=done)
    share = done / total if total else None
    return Progress(text=f"{what}: {done:,} of {count(total, unit)}", share=share, done=done, total=total)


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


def _tqdm() -> Any:
    try:
        with warnings.catch_warnings():
            # Without ipywidgets it is a line of text; tqdm would rather complain.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
