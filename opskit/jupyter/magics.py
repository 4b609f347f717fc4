"""`%load_ext opskit`: the verbs of the shell and SQL of one's own in a cell, on the notebook's own connection."""

from __future__ import annotations

import argparse
import importlib
import keyword
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from opskit import doctor, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings import Settings

_VALUE = re.compile(r"%\((\w+)\)s")


class Magics:
    """The magics that the extension adds to one IPython.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._own: Database | None = None

    def verb(self, line: str) -> Any:
        """`%opskit stats failures`: a statistic as a frame, the doctor's findings; any other verb as in the shell.

        It acts on the database of the variable `db`, else on that of the environment.

        Raises:
            SettingError: There is no such statistic, or a quotation mark is open.
        """
        try:
            words = shlex.split(line)
        except ValueError:
            raise SettingError(f"a quotation mark is open in: %opskit {line}") from None
        if words == ["doctor"]:
            return doctor.examine(self._database())
        if words[:1] == ["stats"] and len(words) == 2 and not words[1].startswith("-") and words[1] != "all":
            name = words[1].replace("_", "-")  # as in Python, or as in the shell
            return stats.STATISTICS[name](self._database()) if name in stats.STATISTICS else _unknown(words[1])
        with _environment(self._database().settings), suppress(SystemExit):
            # By name: the command line is a package above this one. What is wrong with the words has been said.
            importlib.import_module("opskit.cli.main").main(words or ["--help"])
        return None

    def sql(self, line: str, cell: str) -> Any:
        """`%%opskit_sql [NAME]`: a frame of the cell's SQL, which cannot write; %(name)s is the notebook's variable.

        With a NAME the frame becomes a variable, too.

        Raises:
            SettingError: NAME is none, or the notebook has no such variable.
            DatabaseError: PostgreSQL refuses it.
        """
        name = line.strip()
        if name and (not name.isidentifier() or keyword.iskeyword(name)):
            raise SettingError(f"{name!r} is no name of a variable")
        known = self._shell.user_ns
        wanted = _VALUE.findall(cell)
        missing = [value for value in wanted if value not in known]
        if missing:
            raise SettingError(f"the notebook has no variable {missing[0]!r}, which %({missing[0]})s asks for")
        frame = self._database().read(cell, **{value: known[value] for value in wanted})
        if name:
            known[name] = frame
        return frame

    def complete(self, _: Any, event: Any) -> list[str]:
        """The words that may follow: verbs, statistics, flags."""
        words = event.line.split()[1:]
        if event.symbol and words and not event.line.endswith(" "):
            words = words[:-1]
        parser = importlib.import_module("opskit.cli.main").build_parser()
        verbs = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction)).choices
        if not words:
            return sorted(verbs)
        if words[0] not in verbs:
            return []
        flags = sorted(flag for flag in verbs[words[0]]._option_string_actions if flag.startswith("--"))
        return ([*stats.STATISTICS] if words == ["stats"] else []) + flags

    def _database(self) -> Database:
        given = self._shell.user_ns.get("db")
        if isinstance(given, Database):
            return given
        if self._own is None:
            self._own = Database(Settings.load())
        return self._own

    def close(self) -> None:
        """Close the connection that no variable holds."""
        if self._own is not None:
            self._own.close()


_loaded: dict[int, Magics] = {}


def load_ipython_extension(shell: Any) -> None:
    """Add `%opskit` and `%%opskit_sql`; IPython calls it for `%load_ext opskit`."""
    magics = _loaded[id(shell)] = Magics(shell)
    shell.register_magic_function(magics.verb, "line", "opskit")
    shell.register_magic_function(magics.sql, "cell", "opskit_sql")
    shell.set_hook("complete_command", magics.complete, str_key="%opskit")


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again."""
    magics = _loaded.pop(id(shell), None)
    if magics is not None:
        magics.close()
        shell.magics_manager.magics["line"].pop("opskit", None)
        shell.magics_manager.magics["cell"].pop("opskit_sql", None)


def _unknown(name: str) -> None:
    raise SettingError(f"there is no statistic {name!r}; there are {', '.join(stats.STATISTICS)}")


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """The environment variables of the shell's verbs: the same database and environment."""
    before = dict(os.environ)
    os.environ.update(settings.environ())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
