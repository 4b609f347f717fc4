"""A pytest plug-in for tests beside an older opskit.

What a test names of opskit and the older one does not have fails where it is used, not before: without it a file of
tests that imports one new module could not be collected, and would say nothing of its other tests. A test that is late
ends with its worker and with all that this has started: the old code swallows what would interrupt it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "opskit"
MARK = "OPSKIT_TESTS_OF_WORKER"
"""A variable by which what a worker has started is known, however it was started."""


class NotThereError(Exception):
    """An older opskit was asked for what it does not have."""


class NotThere(types.ModuleType):
    """Stands for a module, a function or a value that is not there: it can be named, and not used while a test runs."""

    def __getattr__(self, name: str) -> NotThere:
        if name.startswith("__"):
            raise AttributeError(name)
        return NotThere(f"{self.__name__}.{name}")

    def __call__(self, *_: object, **__: object) -> NotThere:
        return self._used()

    def __bool__(self) -> bool:
        return bool(self._used())

    def __eq__(self, other: object) -> bool:
        return self is self._used() and self is other

    def __hash__(self) -> int:
        return id(self)

    def __iter__(self) -> Iterator[Any]:
        self._used()
        return iter(())

    def _used(self) -> NotThere:
        if "PYTEST_CURRENT_TEST" in os.environ:
            raise NotThereError(self.__name__)
        return self


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of the package that nothing else finds; asked last."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A module that is not there, as a package, so that what is below it is found as well."""
        if not fullname.startswith(f"{PACKAGE}."):
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """One that stands for nothing."""
        return NotThere(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in it."""


class Lenient(importlib.abc.MetaPathFinder):
    """From the modules of the package that are there, names that they do not have can be imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module as Python itself finds it."""
        if fullname != PACKAGE and not fullname.startswith(f"{PACKAGE}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = LenientLoader(spec.loader.name, spec.loader.path)
        return spec


class LenientLoader(importlib.machinery.SourceFileLoader):
    """Loads a module, then gives it an answer for each name."""

    def exec_module(self, module: types.ModuleType) -> None:
        """As Python does; a module that answers for itself is left alone."""
        super().exec_module(module)

        def missing(name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            if hasattr(module, "__path__"):  # `from package import module` asks here before it looks for the module
                return importlib.import_module(f"{module.__name__}.{name}")
            return NotThere(f"{module.__name__}.{name}")

        module.__dict__.setdefault("__getattr__", missing)


TIMER = pytest.StashKey[threading.Timer]()


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Instead of pytest-timeout's own timer."""
    timer = item.stash[TIMER] = threading.Timer(settings.timeout, end)
    timer.daemon = True
    timer.start()
    return True


def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """The test has ended in time."""
    item.stash[TIMER].cancel()
    return True


def end() -> None:
    """End this worker and whatever it has started, which would hold the pipe that tells of the worker's end."""
    mine = f"{MARK}={os.getpid()}".encode()
    for process in Path("/proc").iterdir():
        try:
            if process.name != str(os.getpid()) and mine in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
    os._exit(1)


os.environ[MARK] = str(os.getpid())
sys.meta_path.insert(0, Lenient())
sys.meta_path.append(Missing())
