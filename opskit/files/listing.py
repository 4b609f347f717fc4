"""Listing: expands paths and URLs into files, and names each."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opskit.errors import SettingError
from opskit.files import stores
from opskit.files.storage import clean_name

Entry = tuple[str, str, int | None]
"""A file to be queued: storage path, name, size in bytes where it is known."""
_LONGEST_SHOWN = 200


def expand(paths: Iterable[str | os.PathLike[str]], *, on_line: Callable[[str], None] | None = None) -> Iterator[Entry]:
    """Every file meant by *paths*, as (storage path, name, size in bytes).

    Args:
        paths: Files, URLs, folders with all that is in them (hidden files are left out, and so are links that lead out
            of the folder), and prefixes of an object store, which end with a slash.
        on_line: Called with a sentence where such links were left out. Defaults to nobody.

    Raises:
        SettingError: There is nothing at a path, or it cannot be read.
    """
    for given in paths:
        text = os.fspath(given)
        if "://" in text and text.endswith("/") and stores.protocol_of(text) not in ("http", "https"):
            url = ""
            for url, size, _ in stores.under(text):
                yield url, name_of_url(url), size
            if not url:
                # A store has no folders: an empty prefix and a mistyped one look alike.
                raise SettingError(f"nothing lies under {_shown(text)}; without the slash at its end it is one file")
            continue
        if "://" in text:
            yield text, name_of_url(text), None
            continue
        path, mode = _looked_at(text)
        if stat.S_ISDIR(mode):
            yield from _inside(path, text, on_line)
        elif stat.S_ISREG(mode):
            yield _entry(path)
        else:
            raise SettingError(f"there is no file or folder {_shown(text)}")


def stamped(place: str, *, on_line: Callable[[str], None] | None = None) -> Iterator[tuple[Entry, str]]:
    """Every file of a folder or prefix, with what changes when the file does: its time, or its object's tag.

    Raises:
        SettingError: There is nothing at the place, or it cannot be read.
    """
    if "://" in place:
        prefix = place if place.endswith("/") else place + "/"
        for url, size, stamp in stores.under(prefix):
            yield (url, name_of_url(url), size), stamp
        return
    for entry in expand([place], on_line=on_line):
        try:
            yield entry, str(os.stat(entry[0]).st_mtime_ns)
        except OSError:
            continue  # it has gone since


def name_of_url(url: str) -> str:
    """What the file behind a URL is called: the last part of its path.

    The query is no part of it: that of a presigned URL is its secret. Neither is what a chain of protocols
    (`simplecache::https://…`) puts before it.
    """
    for link in url.split("::"):
        if "://" in link:
            break
    scheme, _, rest = link.partition("://")
    if scheme in ("http", "https"):
        path = unquote(urlsplit(link).path)
    else:
        # In an object store a question mark may be a letter of the name; a query has an equals sign.
        path, mark, query = rest.partition("?")
        path = path if "=" in query else path + mark + query
    return clean_name(path.rstrip("/") or urlsplit(link).hostname or scheme)


def _looked_at(text: str) -> tuple[Path, int]:
    """A path and the mode of what is there."""
    try:
        path = Path(text).expanduser()
        return path, path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise SettingError(f"there is no file or folder {_shown(text)}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingError(f"{_shown(text)} cannot be read: {_why(error)}") from None


def _inside(folder: Path, text: str, on_line: Callable[[str], None] | None) -> Iterator[Entry]:
    """The files of a folder and of those in it, in the order of their names."""

    def fail(error: OSError) -> None:
        raise SettingError(f"the folder {_shown(str(error.filename))} cannot be read: {_why(error)}") from None

    real, led_out, found = folder.resolve(), 0, []
    for where, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [name for name in folders if os.path.islink(os.path.join(where, name))]
        led_out += sum(not _within(Path(where, name), real) for name in linked)
        for path in (Path(where, name) for name in names if not name.startswith(".")):
            if path.is_symlink() and not _within(path, real):
                led_out += 1
            elif path.is_file():
                found.append(path)
    if led_out and on_line is not None:
        count = "1 link that leads" if led_out == 1 else f"{led_out} links that lead"
        on_line(f"{count} out of {_shown(text)} {'was' if led_out == 1 else 'were'} left out")
    yield from map(_entry, sorted(found))


def _within(path: Path, folder: Path) -> bool:
    """Whether a link stays in the folder; one that leads nowhere, or round in a circle, leads out of nothing."""
    try:
        return path.resolve(strict=True).is_relative_to(folder)
    except (OSError, RuntimeError):
        return True


def _entry(path: Path) -> tuple[str, str, int]:
    # Names that are not UTF-8 cannot be stored; better to say so than to lose the file.
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise SettingError(f"the name of {absolute!r} is not UTF-8; rename the file") from None
    return absolute, path.name, path.stat().st_size


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
