"""The runbooks: a page of Markdown for each condition of the doctor. They come with the package."""

from __future__ import annotations

import re
from collections.abc import Callable

from opskit.database.names import names
from opskit.doctor.finding import Condition, command
from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.support import resources

_TABLES = {"uploaded_files": "files", "processing_nodes": "nodes"}
_TABLE = re.compile(rf"\b({'|'.join(_TABLES)})\b")
_BLOCK = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def text(condition: str, *, settings: Settings | None = None, address: Callable[[Condition], str] | None = None) -> str:
    """The runbook of a condition, as Markdown.

    Args:
        condition: As a finding names it, such as "no-node-alive".
        settings: The commands are those for this environment and table. Defaults to the page as it is written, for
            the table uploaded_files and a shell whose OPSKIT_ENV is production.
        address: Where the runbook of another condition is read. Defaults to naming the command that prints it.

    Raises:
        SettingError: There is no such condition.
    """
    if condition not in set(Condition):
        raise SettingError(f"there is no runbook {condition!r}; there are: {', '.join(Condition)}")
    page = resources.folder("docs/runbooks") / f"{condition}.md"

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2].removesuffix(".md")
        if target not in set(Condition):
            return words  # another part of the documentation
        return (
            f"[{words}]({address(Condition(target))})" if address else f"{words} (`opskit doctor --explain {target}`)"
        )

    found = _LINK.sub(link, page.read_text(encoding="utf-8"))
    return found if settings is None else _BLOCK.sub(lambda block: _for(settings, block[0]), found)


def _for(settings: Settings, block: str) -> str:
    """A block of commands, for an environment and a table."""
    named = names(settings)
    block = re.sub(r"^opskit (?=[a-z])(.*)$", lambda line: command(settings, line[1]), block, flags=re.MULTILINE)
    block = block.replace("-v env=production", f"-v env={settings.env}")
    return _TABLE.sub(lambda name: named[_TABLES[name[0]]], block)


def title(condition: str) -> str:
    """The heading of a runbook."""
    return text(condition).partition("\n")[0].removeprefix("# ")
