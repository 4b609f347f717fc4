"""`python -m opskit` is `opskit`."""

from __future__ import annotations

from opskit.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
