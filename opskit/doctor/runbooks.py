"""The runbooks: a page of Markdown for each condition of the doctor. They come with the package."""

from __future__ import annotations

import re
from collections.abc import Callable

from opskit.doctor.finding import Condition
from opskit.errors import SettingError
from opskit.support import resources

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def text(condition: str, *, address: Callable[[Condition], str] | None = None) -> str:
    """The runbook of a condition, as Markdown.

    Args:
        condition: As a finding names it, such as "no-node-alive".
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

    return _LINK.sub(link, page.read_text(encoding="utf-8"))


def title(condition: str) -> str:
    """The heading of a runbook."""
    return text(condition).partition("\n")[0].removeprefix("# ")
