"""`python -m opskit.worker`: one node."""

from opskit.worker.command import main

raise SystemExit(main())
