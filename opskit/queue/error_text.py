"""An error as it is stored: its traceback without our own frames, and last the line that tells it."""

from __future__ import annotations

import traceback

from opskit.errors import Reject
from opskit.files.program_failure import Failure
from opskit.queue.error_identity import headline, message_of


def told(error: BaseException) -> str:
    """The whole story of an exception, with what it was raised from; its last line is its headline."""
    if isinstance(error, Failure):
        return "\n".join(filter(None, (error.story, message_of(error))))
    line = headline(error)
    try:
        text = _story(error)
    except Exception:  # an exception that cannot be formatted is still one
        return line
    # A caret, a note, details or the frame of a group would come last otherwise. What Python suggests follows it.
    last = text.rsplit("\n", 1)[-1]
    return text if last == line or last.startswith(f"{line}. ") else f"{text}\n{line}"


def _story(error: BaseException) -> str:
    if isinstance(error, Reject):
        return f"rejected: {message_of(error)}".strip()
    # The first frame is our own call of the processor.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    chained = error.__cause__ or error.__context__ or isinstance(error, BaseExceptionGroup)
    if frames is None and not chained:
        return "".join(traceback.format_exception_only(error)).strip()
    lines = traceback.TracebackException(type(error), error, frames, compact=True).format()
    return "".join(lines).strip().replace("Traceback (most recent call last):\n", "Traceback:\n")
