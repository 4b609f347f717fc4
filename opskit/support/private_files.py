"""Private folders and files: no other user can read them, and no other user has prepared them.

Where others may write, a link may lead anywhere: a lock that is opened for writing empties a file of root's. So a home
that others own or may write is refused, and what lies in it is opened without following links, and looked at before
it is used. Every refusal is an OSError whose text is a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
ROOTS_HOME = 0o711
"""Root's home may be passed through, not looked into: the embedded server runs as another user."""


def home(path: Path, *, make: bool = True) -> None:
    """Check that the home folder is private; closes one that others may only read.

    Args:
        path: The folder, absolute.
        make: Make it where it is missing. Defaults to true; otherwise a missing one is fine.

    Raises:
        OSError: It is another user's, others may write to it, or it cannot be made.
    """
    mode = ROOTS_HOME if os.geteuid() == 0 else FOLDER
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=FOLDER)
            path.chmod(mode)
    elif not os.path.lexists(path):
        return
    folder(path, mode=mode)


def folder(path: Path, *, mode: int = FOLDER) -> None:
    """Check that an existing folder is private; closes one that others may only read.

    Raises:
        OSError: It is another user's, a link of another user's, or others may write to it.
    """
    if path.is_symlink():
        _ours(path, path.lstat())
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        _ours(path, path.stat())
        raise
    try:
        found = os.fstat(handle)
        _ours(path, found)
        if found.st_mode & 0o022:
            what = f"others may write to it (mode {stat.S_IMODE(found.st_mode):o}); look through it, then: chmod 700 it"
            raise PermissionError(errno.EPERM, what, str(path))
        if stat.S_IMODE(found.st_mode) & ~mode & 0o777:
            os.fchmod(handle, mode)
    finally:
        os.close(handle)


def opened(path: Path, flags: int, *, owners: Iterable[int] = ()) -> int:
    """Open or create a private file: never through a link, never truncated, never a pipe or a device.

    Args:
        path: The file, in a folder that is ours alone.
        flags: Of os.open, such as os.O_RDWR | os.O_CREAT.
        owners: Other users whose file it may be; root takes it over.

    Returns:
        A descriptor. What others may do with the file is taken from them.

    Raises:
        FileNotFoundError: There is none.
        OSError: It is a link, not a plain file, has another name elsewhere, or is another user's.
    """
    try:
        # Without waiting: a pipe that somebody has put there would keep us for ever.
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(
                errno.EPERM, "it is a link, and none is followed here; remove it", str(path)
            ) from None
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise PermissionError(errno.EPERM, "it is not a file of its own; remove it", str(path))
        if found.st_uid != os.geteuid():
            if found.st_uid not in owners:
                _ours(path, found)
            if os.geteuid() == 0:
                os.fchown(handle, 0, 0)
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(handle, FILE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read(path: Path, *, owner: int) -> str:
    """The text of a small file of another user's, which is left as it is: never through a link.

    Raises:
        FileNotFoundError: There is none.
        OSError: It is a link, not a plain file, or neither *owner*'s nor ours.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise PermissionError(errno.EPERM, "it is not a file of its own", str(path))
        return file.read()


def written(path: Path, text: str) -> None:
    """Make a file anew, for our eyes only; what was there, a link as well, is removed first.

    Raises:
        OSError: It cannot be made.
    """
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _ours(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        whose = f"it belongs to {_name(found.st_uid)}, and this process is {_name(os.geteuid())}; name another folder"
        raise PermissionError(errno.EPERM, whose, str(path))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
