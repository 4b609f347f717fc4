"""Try the mutants: `make mutants`, or `python -m tests.mutants --only requeue`."""

from tests.mutants.run import main

raise SystemExit(main())
