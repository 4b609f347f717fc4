"""`python -m opskit.web`."""

from __future__ import annotations

from opskit.web.server import main

if __name__ == "__main__":
    raise SystemExit(main())
