"""A bar for long calls in a notebook, where nobody has asked for one; elsewhere there is none."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

DELAY_SECONDS = 1.0
"""A call that takes no longer shows no bar [s]."""


@contextlib.contextmanager
def notebook_bar(
    what: str, unit: str, *, total: int | None = None, say: Callable[..., None] | None = None
) -> Iterator[Callable[[int], None]]:
    """A function to be called with how much is done: the caller's own, else a bar of tqdm in a notebook, else nothing.

    Args:
        what: What is being done, in a word.
        unit: Of what, in the plural.
        total: How many there are. Defaults to not known.
        say: The caller's own, called with (done), or with (done, total) where the total is known.
    """
    if say is not None:
        yield lambda done: say(done) if total is None else say(done, total)
        return
    tqdm = _tqdm() if _in_notebook() else None
    if tqdm is None:
        yield lambda _: None
        return
    # On stdout: what stands on stderr is shown in red, as an alarm.
    with tqdm(desc=what, unit=f" {unit}", total=total, delay=DELAY_SECONDS, leave=False, file=sys.stdout) as bar:
        yield lambda done: bar.update(done - bar.n)


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
