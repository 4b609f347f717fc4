"""`python -m opskit.dashboard`."""

from opskit.dashboard.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
