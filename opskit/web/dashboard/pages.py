"""The pages, by their file and their address."""

from __future__ import annotations

PAGES = ("overview", "nodes", "files", "failures", "cleanup", "timeline", "doctor", "history")
"""The pages; the first one's address is the page's own."""
HOME = PAGES[0]
HIDDEN = ("file", "node")
"""Pages that are led to from others."""
TICKING = ("", "nodes", "file")
"""The pages with parts that renew themselves, by their address."""
