"""The site's hook: pictures become part of the page, so that they follow its colours, light or dark."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).parent / "pictures"
_IMAGE = re.compile(r'<img alt="([^"]*)" src="[./]*pictures/(\w+\.svg)" ?/?>')


def on_page_content(html: str, **_: Any) -> str:
    """Put each SVG picture of a page into the page itself."""
    return _IMAGE.sub(_inlined, html)


def _inlined(image: re.Match[str]) -> str:
    picture = (PICTURES / image[2]).read_text(encoding="utf-8")
    # The file's own colours are for readers of the repository; the page has its own (assets/extra.css).
    picture = re.sub(r"<style>.*?</style>", "", picture, flags=re.DOTALL)
    return picture.replace("<svg ", f'<svg role="img" aria-label="{escape(image[1])}" ', 1)
