"""The command line of a program that processes files: read once, as a shell would read it, and run without one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence

from opskit.errors import ProcessorError, Reject

PLACEHOLDERS = ("path", "id", "token", "attempt", "name")
_PLACEHOLDER = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
# Programs that take code as an argument. What an uploader chose must not become a part of it.
_INTERPRETERS = re.compile(
    r"(ba|da|z|k|mk|c|tc|fi|a|pa|ya|r)?sh|busybox|python[\d.]*t?|pypy[\d.]*|node|nodejs|deno|bun|perl[\d.]*|ruby[\d.]*|"
    r"php[\d.]*|lua[\d.]*|luajit|env|Rscript|R|julia|tclsh[\d.]*|expect|pwsh|powershell|guile|elixir|scala|groovy|raku|osascript"
)
# Of these the first argument that is no option is code; what ssh is given, a shell on the other side runs.
_SCRIPTED = re.compile(r"[gmn]?awk|g?sed|jq|xargs")
_ALL_CODE = frozenset({"ssh", "rsh", "eval"})
_CODE = re.compile(
    r"-[A-Za-z]*[ceErRpS]|--?(c|e|eval|exec|execute|command|print|script|run|split-string)", re.IGNORECASE
)
_ATTACHED = re.compile(r"-[ceErpS].+|--(eval|exec|execute|command|print|split-string)=.*", re.DOTALL)


class Command:
    """A program and its arguments, with places for what differs from file to file.

    Args:
        text: As it would be typed into a shell: `node convert.mjs {path}`.

    Attributes:
        program: Its first word, as it was given.
        reads_path: Whether the file's path is one of its arguments; otherwise its bytes come on stdin.

    Raises:
        ProcessorError: It cannot be read, or a placeholder stands where a value would be run as code.
    """

    def __init__(self, text: str) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise ProcessorError(f"OPSKIT_EXEC is {text!r}, which no shell could read: {error}") from None
        if not self._words or not self._words[0]:
            raise ProcessorError(f"OPSKIT_EXEC is {text!r}; it must be a program and its arguments")
        self.program = self._words[0]
        if _PLACEHOLDER.search(self.program):
            raise ProcessorError(f"OPSKIT_EXEC is {text!r}: the program itself must not be what a file says")
        for word in self._words:
            if re.fullmatch(r"{\w+}", word) and not _PLACEHOLDER.fullmatch(word):
                known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ProcessorError(f"OPSKIT_EXEC has {word}, which nothing stands for; there are {known}")
        if code := _in_code(self._words):
            raise ProcessorError(
                f"OPSKIT_EXEC has a placeholder in {code!r}, which is run as code: an uploader's name would be run, "
                "too; read $OPSKIT_FILE_PATH and its like there, or pass the placeholder as an argument of its own"
            )
        self.reads_path = any("{path}" in word for word in self._words)

    @property
    def title(self) -> str:
        """The command's title: the program, and the script that an interpreter is given."""
        names = [os.path.basename(self.program)]
        if _INTERPRETERS.fullmatch(names[0]):
            script = next((word for word in self._words[1:] if not word.startswith("-")), "")
            names += [os.path.basename(script)[:80]] if re.fullmatch(r"[\w./-]+", script) else []
        return " ".join(names)

    def find(self) -> str:
        """Where the program is.

        Raises:
            ProcessorError: It is not there, or may not be run.
        """
        found = shutil.which(self.program)
        if found is None:
            there = os.path.exists(self.program) and os.sep in self.program
            wrong = "is no program that may be run" if there else "is not there"
            where = "" if os.sep in self.program else " (looked for in PATH)"
            raise ProcessorError(f"the program {self.program!r} of OPSKIT_EXEC {wrong}{where}")
        return os.path.abspath(found)

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """The words for one file, the program's name first.

        Raises:
            Reject: A value would be read as an option.
        """
        return [self.program, *(_filled(word, values) for word in self._words[1:])]


def _filled(word: str, values: Mapping[str, str]) -> str:
    filled = _PLACEHOLDER.sub(lambda found: values[found[1]], word)
    if not filled.startswith("-") or word.startswith("-"):
        return filled
    if word.startswith(("{path}", "{name}")):
        return f"./{filled}"
    raise Reject(f"its id {values['id']!r} begins with a hyphen, and a program would take it for an option")


def _in_code(words: Sequence[str]) -> str | None:
    """An argument with a placeholder that some program would run as code; None when there is none."""
    interpreter = code = everything = False
    for number, word in enumerate(words):
        holds = bool(_PLACEHOLDER.search(word))
        before = words[number - 1] if number else ""
        if holds and (everything or code or (interpreter and word.startswith("-") and _ATTACHED.fullmatch(word))):
            return word
        # Of a program that we do not know: what follows its -c or --eval and is more than a value.
        if holds and _CODE.fullmatch(before) and re.search(r"\s|[;|&$`()<>]", _PLACEHOLDER.sub("", word)):
            return word
        if word.startswith("-"):
            code = code or (interpreter and bool(_CODE.fullmatch(word)))
        elif code:
            code = False
        else:
            name = os.path.basename(word)
            interpreter, code = bool(_INTERPRETERS.fullmatch(name)), bool(_SCRIPTED.fullmatch(name))
            everything = everything or name in _ALL_CODE
    return None
