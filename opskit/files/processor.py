"""Loads a processor, and refuses one at the start that no file could ever pass through."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from opskit.errors import ProcessorError
from opskit.files import stores
from opskit.files.claimed import Processor
from opskit.files.command_line import Command
from opskit.files.posting import Post
from opskit.files.program import Program
from opskit.settings import Settings, secret_variables

_NOT_AWAITED = "opskit calls it and awaits nothing; give a plain function, which may call asyncio.run()"


def processor_of(
    settings: Settings, folder: Path | None = None, started: Callable[[int], None] = lambda group: None
) -> Processor:
    """The processor that the settings name: a function, or a program.

    Args:
        settings: What they say.
        folder: Where programs work. Defaults to a new temporary folder.
        started: Called with the process group of each run of a program, and with 0 at its end.

    Raises:
        ProcessorError: There is no such function or program, or it cannot be used.
    """
    if settings.exec:
        environ = {name: value for name, value in os.environ.items() if name not in secret_variables()}
        folder = folder or Path(tempfile.mkdtemp(prefix="opskit-"))
        return Program(Command(settings.exec), folder, environ, started)
    if settings.post:
        return Post(settings.post, settings.post_token or "")
    return load_processor(settings.processor)


def check_processor(settings: Settings) -> None:
    """See, before anything is started, that what is to process the files is there; functions are not imported for it.

    Raises:
        ProcessorError: It is not.
    """
    if settings.exec:
        Command(settings.exec).find()
    if settings.post:
        Post(settings.post)
    if "://" in settings.storage:
        stores.check(settings.storage)


def load_processor(name: str) -> Processor:
    """Import a processor given as module:function, with arguments as in `opskit.processors:load_table?mode=replace`.

    Modules of the current folder are found, too; after all others, so that none of them is taken for a library.

    Raises:
        ProcessorError: The module cannot be imported, has no such function, or it cannot be called with one file.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    address, mark, query = name.partition("?")
    module_name, _, function_name = address.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
        if mark:
            options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
            inspect.signature(found).bind(object(), **options)
            found = functools.partial(found, **options)
    except (Exception, SystemExit) as error:
        raise ProcessorError(f"the processor {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return checked(found, repr(name))


def checked(found: Any, name: str = "") -> Processor:
    """What can be called with one file.

    Args:
        found: What shall be a processor.
        name: How it is called in the sentence. Defaults to its own name.

    Raises:
        ProcessorError: No file could ever pass through it.
    """
    if wrong := _wrong(found):
        raise ProcessorError(f"the processor {name or getattr(found, '__qualname__', repr(found))} {wrong}")
    return found  # type: ignore[no-any-return]  # callable with a file, as has been looked at


def _wrong(found: Any) -> str | None:
    """Why something cannot be a processor; None when it can."""
    if not callable(found):
        return f"is {type(found).__name__}, not a function"
    if inspect.isclass(found):
        return "is a class, and calling it processes nothing; give a function, or a method of an object"
    called = _called(found)
    if inspect.iscoroutinefunction(called):
        return f"is an async function: {_NOT_AWAITED}"
    if inspect.isasyncgenfunction(called):
        return f"is an async generator: {_NOT_AWAITED}"
    if inspect.isgeneratorfunction(called):
        return "is a generator: calling it runs nothing of it; give a function without yield"
    try:
        inspect.signature(found).bind(object())
    except TypeError as error:
        return f"cannot be called with one argument, the file: {error}"
    except ValueError:
        pass  # written in C, and silent about its arguments
    return None


def _called(found: Any) -> Callable[..., Any]:
    """The function that runs when *found* is called: behind partials, and behind an object's `__call__`."""
    while isinstance(found, functools.partial):
        found = found.func
    if inspect.isroutine(found):
        return found
    return _called(type(found).__call__) if not inspect.isclass(found) else found
