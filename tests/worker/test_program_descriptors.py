"""A program has its own descriptors and none of the node's: what it leaves running keeps nobody waiting."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from opskit.database import Database
from tests.support.nodes import counts
from tests.support.tables import files, opskit

# The descriptor of the listing itself is closed when it is looked at.
LOOK = """
import json, os, sys
open_ones = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]
open(sys.argv[1], "w").write(json.dumps(sorted(open_ones)))
"""


def test_a_program_has_no_descriptor_of_the_nodes_beside_its_four(db: Database, tmp_path: Path) -> None:
    program, found = tmp_path / "look.py", tmp_path / "found"
    program.write_text(LOOK)
    files(db, "a", storage_path=str(program))

    done = opskit(db.settings, "worker", "--drain", "--exec", f"{sys.executable} {program} {found}")

    assert (done.returncode, counts(db)) == (0, {"completed": 1}), done.stderr
    assert json.loads(found.read_text()) == [0, 1, 2, 3]
