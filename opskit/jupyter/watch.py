"""`opskit.watch`: a live panel in a cell, with what an operator presses.

A thread reads once a second over a connection of its own, so that the kernel stays free; what is pressed is done by
the kernel, in its turn. An interrupt does not reach the thread, a restart ends it with its session, and a database
that is away is said in the panel until it is back. A notebook keeps the last state as a table.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import threading
from pathlib import Path
from typing import Any

from opskit.database import Database
from opskit.errors import OpskitError, SettingError
from opskit.jupyter import given
from opskit.jupyter.panel import Panel, act, as_html
from opskit.support.logs import masked

EVERY_SECONDS = 1.0
_LEAST_SECONDS, _MOST_SECONDS = 0.2, 3600
_STATEMENT_SECONDS = 5.0
_REASON = "pressed in a notebook"
_NOTHING = {
    "env": "", "table": "", "as_of": "", "away": "", "said": "", "chips": [], "forecast": "", "needs": [], "claims": [],
    "nodes": [], "failures": [], "ended": [], "lines": [], "unread": "", "page": "", "actions": [], "may_act": False,
    "may_not": "", "stopped": False,
}  # fmt: skip


class Watch:
    """The panel of one database; `stop()` ends it, and so does the end of the kernel.

    Args:
        db: An open database. What is pressed is done through it.
        every_seconds: How often it is read [s].
    """

    def __init__(self, db: Database, *, every_seconds: float = EVERY_SECONDS) -> None:
        self.state: dict[str, Any] = _NOTHING | {"env": db.settings.env, "table": db.settings.files}
        self.widget: Any = None
        self._db, self._every_seconds = db, every_seconds
        self._reader = Database(
            db.settings, pooled=False, statement_seconds=_STATEMENT_SECONDS, name="watch", actor=db.actor
        )
        self._panel = Panel(self._reader)
        self._over, self._now = threading.Event(), threading.Event()
        self._process = os.getpid()
        self._said = ""
        self._read()

    def start(self, widget: Any) -> None:
        """Keep a widget up to date, from a thread."""
        self.widget = widget
        widget.on_msg(self._pressed)
        threading.Thread(target=self._run, name="opskit watch", daemon=True).start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the thread and its session; the panel keeps what it shows."""
        atexit.unregister(self.stop)
        self._over.set()
        self._now.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._now.wait(self._every_seconds)
            self._now.clear()
            if not self._over.is_set():
                self._read()
                self._show()
        self.state = self.state | {"stopped": True, "actions": []}
        self._show()
        self._reader.close()

    def _read(self) -> None:
        try:
            self.state = _NOTHING | self._panel.read() | {"said": self._said}
        except OpskitError as error:
            self._reader.drop_connection()
            self.state = self.state | {"away": masked(str(error)), "actions": []}
        except Exception as error:
            # A thread that ends in silence would leave old numbers that look live.
            self.state = self.state | {"away": masked(f"{type(error).__name__}: {error}"), "actions": []}

    def _show(self) -> None:
        with contextlib.suppress(Exception):  # the page, or the kernel's end of it, has gone
            self.widget.state = self.state

    def _pressed(self, _: Any, content: Any, __: Any = None) -> None:
        """Do what was pressed twice, if it is still what the panel offers."""
        offered = {action["key"]: action for action in self.state["actions"]}
        action = offered.get(str(content.get("key")))
        if action is None or not self.state["may_act"]:
            self._said = "that was not done: it is not offered any more"
        else:
            try:
                # The values as they were named at the first press: claims that moved on since are skipped.
                self._said = act(self._db, action["verb"], content.get("values") or {}, reason=_REASON)
            except OpskitError as error:
                self._said = masked(str(error))
        self._panel.hurry()
        self._now.set()

    def __repr__(self) -> str:
        chips = ", ".join(f"{count} {name}" for name, count in self.state["chips"])
        return f"<opskit.watch {self.state['env']} {self.state['table']} {chips}>"

    def _repr_html_(self) -> str:
        """The panel as it is now, as tables."""
        return as_html(self.state)


def watch(db: Database, *, every_seconds: float = EVERY_SECONDS) -> Any:
    """Show a live panel of a database: what needs a person, the queue, nodes, failures, and what attempts said last.

    What can be done about it (clean up, requeue a group, cancel a file, pause all) has a button. An action is done at
    its second press, which names what it acts on. Buttons are greyed out on a read-only connection and for a role that
    may only read. Without anywidget, it is a table of this moment.

    Args:
        db: An open database.
        every_seconds: How often it is read [s], 0.2 to 3600. Defaults to a second.

    Returns:
        The panel; `stop()` ends it.

    Raises:
        SettingError: *every_seconds* is no such number.
    """
    given.database(db)
    if not isinstance(every_seconds, (int, float)) or not _LEAST_SECONDS <= every_seconds <= _MOST_SECONDS:
        raise SettingError(f"every_seconds is {every_seconds!r}; it must be between 0.2 and 3600")
    made = Watch(db, every_seconds=every_seconds)
    try:
        importlib.import_module("anywidget")
    except ImportError:
        made._reader.close()
        return made
    widget = _widget(made)
    made.start(widget)
    return widget


def _widget(made: Watch) -> Any:
    anywidget, traitlets = importlib.import_module("anywidget"), importlib.import_module("traitlets")
    folder = Path(__file__).parent

    class WatchPanel(anywidget.AnyWidget):  # type: ignore[misc,name-defined]  # its base is imported on first use
        """A live panel; `stop()` ends it."""

        _esm = (folder / "watch.js").read_text(encoding="utf-8")
        _css = (folder / "watch.css").read_text(encoding="utf-8")
        state = traitlets.Dict().tag(sync=True)

        def stop(self) -> None:
            made.stop()

        def __repr__(self) -> str:
            return repr(made)

        def close(self) -> None:
            made.stop()
            super().close()

        def _repr_mimebundle_(self, **how: Any) -> Any:
            bundle = super()._repr_mimebundle_(**how)
            data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
            data = {**(data or {}), "text/plain": repr(made), "text/html": made._repr_html_()}
            return (data, *rest) if rest else data

    return WatchPanel(state=made.state)
