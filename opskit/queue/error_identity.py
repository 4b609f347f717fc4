"""The identity of an error: its exception, its message without ids, paths and numbers, and the frame that raised it.

The identity is made where the exception still is one: a text has lost its type, its message and its frames.
Light: a node imports this.

After: Sentry's grouping, by exception and by the frames of the application.
"""

from __future__ import annotations

import errno
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from opskit.errors import MissingExtraError, Reject
from opskit.files.program_failure import Failure
from opskit.queue.error_lines import MARKERS, last_line, one_line
from opskit.support.logs import masked

Kind = Literal["world", "file"]
_LONGEST_ERROR = 300
_LONGEST_PLACE = 120
_LONGEST_MESSAGE = 2_000  # as much of each is read: what comes later would be cut off anyhow
_MOST_CAUSES = 3
_MOST_ASKED = 100
_UNPRINTABLE = "<exception str() failed>"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity by which failures are grouped.

    Attributes:
        error: Exception and message; numbers, ids, paths and quoted values are taken out. At most 300 characters.
        place: The innermost frame of the processor's own code, such as "acme/ledger.py in Ledger.read"; no line
            number, so that it outlives a deploy. Empty: unknown.
        kind: "world" when the error speaks of disk, memory, permission, network or an installation; "file" for all
            others.
    """

    error: str
    place: str = ""
    kind: Kind = "file"

    def as_json(self) -> dict[str, str]:
        """As sql/fail.sql takes it."""
        return {"error": self.error, "place": self.place, "kind": self.kind}


def of_exception(error: BaseException, *, home: str = "", known: Iterable[str | None] = ()) -> Identity:
    """The identity of an exception that a processor has raised.

    Args:
        error: The exception.
        home: The package or module of the processor: its frames count as the user's own wherever it is installed.
        known: What is known to belong to this file alone: its id, its name, its path.
    """
    words = tuple(word for word in known if word)
    return Identity(_name_of(error, words), place_of(error, home=home), kind_of(error))


def of_failure(failure: Failure, *, known: Iterable[str | None] = ()) -> Identity:
    """The identity of what a program or a server has said."""
    return Identity(
        normalised(message_of(failure), known=known),
        _cut(one_line(masked(failure.place)), _LONGEST_PLACE),
        failure.kind,
    )


def of_text(text: str, *, known: Iterable[str | None] = ()) -> Identity:
    """The identity of an error of which only the text is left: its last line."""
    return Identity(normalised(last_line(text), known=known) or "no reason recorded")


def of_reason(reason: str) -> Identity:
    """The identity of an end that is no exception, such as a signal: the reason as it stands, numbers and all."""
    return Identity(_cut(one_line(masked(reason)), _LONGEST_ERROR))


def headline(error: BaseException) -> str:
    """The line that tells an exception: its type, or "rejected", and the first line of its message; no passwords."""
    lines = _lines(message_of(error))
    name = _type_name(error)
    return one_line(masked(f"{name}: {lines[0]}" if lines else name))


def _name_of(error: BaseException, known: tuple[str, ...], depth: int = 0) -> str:
    """Exception and normalised message; with what it was raised from, and what a group holds."""
    if isinstance(error, SystemExit):
        text = one_line(masked(f"SystemExit: {message_of(error)}")).rstrip(": ")
    else:
        lines = _lines(message_of(error))
        # The beginning, and the end: what a program printed last stands there.
        told = [*lines[:2], *lines[2:][-1:]]
        name = _type_name(error)
        said = normalised(" | ".join(told), known=known, names=isinstance(error, KeyError))
        text = f"{name}: {said}" if said else name
    if depth < _MOST_CAUSES:
        if isinstance(error, BaseExceptionGroup):
            held = sorted({_name_of(each, known, depth + 1) for each in _leaves(error)})
            text = f"{text}: {'; '.join(held[:_MOST_CAUSES])}"
        # A wrapper often says the same whatever went wrong.
        if error.__cause__ is not None and error.__cause__ is not error:
            text = f"{text} (from {_name_of(error.__cause__, known, depth + 1)})"
    return _cut(text, _LONGEST_ERROR)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _type_name(error: BaseException) -> str:
    kind = type(error)
    if isinstance(error, Reject):
        return "rejected"
    module = kind.__module__ if isinstance(kind.__module__, str) else "<unknown>"
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What an exception says: of PostgreSQL's errors the message alone, of a syntax error what it is."""
    try:
        if isinstance(error, SyntaxError):
            return str(error.msg)
        primary = getattr(getattr(error, "diag", None), "message_primary", None)
        if isinstance(primary, str) and primary:
            return primary
        # KeyError quotes its argument, as a key; a sentence is none.
        if type(error).__str__ is KeyError.__str__ and len(error.args) == 1 and isinstance(error.args[0], str):
            said = error.args[0]
            return said if re.search(r"\s\S+\s", said.strip()) else repr(said)
        return str(error)
    except BaseException:
        return _UNPRINTABLE


def _lines(message: str) -> list[str]:
    lines = (line.strip() for line in message[:_LONGEST_MESSAGE].splitlines())
    return [line for line in lines if not MARKERS.fullmatch(line)]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


# A name in quotes stays: it is what the error is about. A value in quotes goes: it is the file's.
_NOUN = (
    "argument|attribute|class|codec|column|columns|constraint|encoding|extension|field|format|function|header|index|"
    "key|keyerror|keyword|method|module|name|named|object|option|package|parameter|property|relation|role|schema|sequence|"
    "setting|sheet|table|tag|type|variable|view"
)
_EXTENSION = (
    "avro|bz2|csv|dat|docx?|eml|feather|gif|gz|html?|jpe?g|jsonl?|log|md|ndjson|ods|orc|parquet|pdf|png|pptx?|"
    "rar|sav|tar|tiff?|tmp|tsv|txt|webp|xls[xmb]?|xml|ya?ml|zip|zst|7z"
)
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_STANDARD = r"\b(?:utf|latin|sha|md|cp|u?int|float|base)[-_]?\d{1,4}\b"  # numbers that are part of a name
_VARYING = re.compile(
    rf"""
      (?P<keep> \b(?:errno|winerror|signal|exit\ (?:code|status))[\ :=]{{1,3}}-?\d+
              | \b(?:http|status)(?:/[\d.]{{1,4}}|\ error|\ code|\ status){{0,3}}[\ :=]{{1,3}}\d\d\d\b
              | \b\d\d\d\ (?:Client|Server)\ Error\b
              | \bsqlstate[\ :=]+\w{{5}}\b
              | {_STANDARD} )
    | (?P<uuid> \b[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?[0-9a-f]{{4}}-?[0-9a-f]{{4}}-?[0-9a-f]{{12}}\b )
    | (?P<url> \b[a-z][a-z0-9+.-]{{1,15}}://[^\s/'"<>)\]?]{{0,200}} ) [^\s'"<>)\]]*
    | (?P<noun> \b(?:{_NOUN})[\ :]+ (?P<a>['"`]) ) (?P<named> [^'"`\n]{{1,80}} ) (?P=a)
    | (?P<b>['"`]) (?P<before> [^'"`\n]{{1,80}} ) (?P=b) (?= \ (?:{_NOUN}|is\ not\ defined|is\ not\ in\ index)\b )
    | (?P<single> (?<!\w)[bru]?' (?:[^'\\\n]|\\.)* '(?!\w) | (?<!\w)[bru]?" (?:[^"\\\n]|\\.)* "(?!\w)
                | `[^`\n]*` | “[^”\n]*” | «[^»\n]*» )
    | (?P<email> \b[\w.+-]{{1,64}}@[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{1,8}} )
    | (?P<path> (?<![\w.:/\\]) (?:~|\.{{1,2}})?/[\w.@%+=:,~#-]+(?:/[\w.@%+=:,~#-]*)*
              | \b[a-z]:\\[^\s'"<>|]+ | \\\\[^\s'"<>|]+ )
    | (?P<file> (?<![\w.@%+=~#()/-]) [\w.@%+=~#()/-]{{0,200}}[\w)]\.(?P<extension>{_EXTENSION})\b )
    | (?P<date> \b\d{{4}}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|\ ?[+-]\d\d:?\d\d|\ UTC)?)?
              | \b\d{{1,2}}[.\ -]+(?:{_MONTH})[a-z]*\.?[\ -]\d{{2,4}}\b
              | \b(?:{_MONTH})[a-z]*\.?[\ -]\d{{1,2}}(?:,?\ \d{{4}})?\b )
    | (?P<hex> \b0x[0-9a-f]+\b | \b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{{8,}}\b )
    | (?P<id> \b(?=[a-z]*\d)(?=\d*[a-z])(?=[a-z0-9]*?[a-z][0-9]+[a-z]|[a-z0-9]*?[0-9][a-z]+[0-9])[a-z0-9]{{8,}}\b )
    | (?P<number> (?<![\w.])[-+]?\d+(?:[.,:'_]\d+)*(?:e[-+]?\d+)?(?![\w]) | \d+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DIGITS = re.compile(rf"({_STANDARD})|\d+", re.IGNORECASE)
_LISTS = re.compile(r"(#|'…'|…)(?:(?:,\s*|\s+)\1)+")


def normalised(message: str, *, known: Iterable[str | None] = (), names: bool = False) -> str:
    """A message without what belongs to one file, in one line of at most 300 characters.

    Numbers, dates and hexadecimal ones become "#"; uuids, ids, paths, addresses and the *known* words "…"; values in
    quotes '…'. A name in quotes stays when the words beside it say that it is one: column 'amount', module 'yaml'.

    Args:
        message: One or more lines.
        known: What is known to belong to this file alone: its id, its name, its path.
        names: The whole message is a key: one that looks like a name stays.
    """
    text = one_line(masked(message[:_LONGEST_MESSAGE]))
    own = {word for word in known if word and len(word) > 3 and not word.isalpha()}
    for word in sorted(own, key=len, reverse=True):
        text = text.replace(one_line(word), "…")
    if names and (key := re.fullmatch(r"(['\"])([^\W\d][\w .-]{0,60})\1", text)):
        return f"'{_numberless(key[2])}'"
    return _cut(_LISTS.sub(r"\1", _VARYING.sub(_without, text)).strip(), _LONGEST_ERROR)


def _numberless(name: str) -> str:
    return _DIGITS.sub(lambda found: found[1] or "#", name)


def _without(match: re.Match[str]) -> str:
    """What stands in the place of something that varies from file to file."""
    if match["keep"]:
        return match[0]
    if match["noun"]:
        return f"{match['noun']}{_numberless(match['named'])}{match['a']}"
    if match["before"]:
        return f"{match['b']}{_numberless(match['before'])}{match['b']}"
    if match["url"]:
        # Which server it is stays.
        return match["url"] + ("/…" if len(match[0]) > len(match["url"]) else "")
    if match["single"]:
        return "'…'"
    if match["file"]:
        return f"….{match['extension']}"
    return "#" if match["date"] or match["hex"] or match["number"] else "…"


_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple(
    f"{folder.rstrip('/')}/" for folder in {_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OWN = f"{Path(__file__).parent.parent}/"
_INNER = re.compile(r"\.<locals>|\.<(?:listcomp|dictcomp|setcomp|genexpr)>")


def place_of(error: BaseException, *, home: str = "") -> str:
    """The innermost frame of an exception that is not a library's; empty when there is none.

    A library is what is installed (site-packages), the standard library and opskit itself, except the package that
    the processor comes from.
    """
    package = home.partition(".")[0]
    own = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if _is_own(frame, package)]
    if own:
        return _cut(_named(own[-1]), _LONGEST_PLACE)
    if isinstance(error, BaseExceptionGroup):
        return next((place for each in _leaves(error) if (place := place_of(each, home=home))), "")
    return ""


def _is_own(frame: FrameType, package: str) -> bool:
    module = str(frame.f_globals.get("__name__") or "")
    path = frame.f_code.co_filename
    if module == "opskit.worker.child" and path.startswith(_OWN):
        return False
    if package and module.partition(".")[0] == package:
        return True
    installed = "/site-packages/" in path or "/dist-packages/" in path
    return not (installed or path.startswith(("<frozen ", _OWN, *_LIBRARIES)))


def _named(frame: FrameType) -> str:
    """The frame's file, as its module names it, and its function: the same wherever it is deployed."""
    path, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__") or "")
    parts = path.replace("\\", "/").split("/")
    depth = 1 if module in ("", "__main__") else module.count(".") + 1 + (parts[-1] == "__init__.py")
    function = _INNER.sub("", frame.f_code.co_qualname)
    return one_line(f"{'/'.join(parts[-depth:])} in {function}")


_ERRNOS = {
    getattr(errno, name)
    for name in (
        "EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENODEV", "ESTALE", "ENOMEM", "EAGAIN", "EACCES",
        "EPERM", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN",
        "ENETUNREACH", "ENETDOWN", "ENETRESET", "ENOTCONN", "EADDRNOTAVAIL", "EBUSY", "EREMOTEIO",
    )
    if hasattr(errno, name)
}  # fmt: skip
# Libraries that a node does not import, by the names of their exceptions.
_CONNECTION = {
    "ConnectionError", "ConnectError", "ConnectTimeout", "NetworkError", "NewConnectionError", "MaxRetryError",
    "ClientConnectionError", "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError",
    "ReadTimeoutError", "ServiceRequestError", "gaierror", "DatabaseUnavailableError",
}  # fmt: skip


def kind_of(error: BaseException) -> Kind:
    """Whether an exception speaks of the world: a disk, memory, rights, a network, an installation; or of its file."""
    seen: list[BaseException] = []
    asked = [error]
    while asked and len(seen) < _MOST_ASKED:
        one = asked.pop(0)
        seen.append(one)
        asked += [*(_leaves(one) if isinstance(one, BaseExceptionGroup) else ()), *filter(None, (one.__cause__,))]
    absent = isinstance(error, FileNotFoundError)
    return "world" if any(_of_the_world(one, absent=absent) for one in seen) else "file"


def kind_of_status(status: int, *, redirect: bool = False) -> Kind:
    """What an HTTP status speaks of; *redirect*: a redirect is a fault, too, as the answer to a POST is."""
    return "world" if status in (401, 403, 404) or status >= 500 or (redirect and 300 <= status < 400) else "file"


def _of_the_world(error: BaseException, *, absent: bool) -> bool:
    """*absent*: the whole says that there is no such file, and a store's 404 below it is what it was made of."""
    # A store's PermissionError has no errno.
    if isinstance(error, (ImportError, MemoryError, PermissionError, MissingExtraError)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _CONNECTION:
        return True
    try:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(response, dict):  # of botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if response.get("Error", {}).get("Code") == "NoSuchBucket":
                return True
        if status is None and names & {"HTTPError", "HttpError"}:  # of urllib, and of gcsfs
            status = getattr(error, "code", None)
        if isinstance(status, int):
            return kind_of_status(status) == "world" and not (absent and status == 404)
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state[:2] in ("08", "53", "57", "58") or state == "42501"
    except Exception:
        return False
    if "OperationalError" in names:
        return True  # of a database, without a state: no connection
    return isinstance(error, OSError) and error.errno in _ERRNOS
