"""The pages of the documentation, and the code in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = DOCS / "howto" / "upgrade.md"
_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of code on a page.

    Attributes:
        heading: The second-level heading it stands under; "" before the first.
        language: sh is run, console only shown; sql, python, yaml, …
        text: The code.
    """

    heading: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Every piece of code on a page, in order."""
    for section in re.split(r"^## ", "\n" + page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = section.splitlines()[0] if section.strip() else ""
        for _, language, text in _FENCE.findall(section):
            yield Block(heading, language, textwrap.dedent(text))


def of(page: Path, language: str) -> list[Block]:
    """The pieces of code of one language."""
    return [block for block in blocks(page) if block.language == language]


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def commands(block: Block) -> Iterator[str]:
    """The command lines of a block for the shell, without prompts and comments."""
    for line in block.text.splitlines():
        if block.language == "sh" or line.startswith("$ "):
            command = re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip()
            if command:
                yield command


def table(page: Path, heading: str, number: int = 0) -> list[list[str]]:
    """The cells of a table below a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n?)+", section, flags=re.MULTILINE)
    rows = found[number].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def name(page: Path) -> str:
    """What a test calls a page."""
    return str(page.relative_to(ROOT))
