"""A script for the person on call: what failed, grouped by its error; queue one group again with --requeue N.

python examples/morning_report.py [--requeue N]
"""

from __future__ import annotations

import argparse

import opskit
from opskit import doctor, queue, stats


def counted(number: int) -> str:
    """How many files, in words."""
    return "1 file" if number == 1 else f"{number} files"


def main() -> int:
    """Print the findings and the groups of failures; exit code 1 when the doctor finds an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requeue", type=int, metavar="N", help="queue the N-th group of failures again")
    given = parser.parse_args()
    with opskit.connect() as db:
        findings = doctor.examine(db)
        for finding in findings:
            print(f"{finding.level}: {finding.what}")
        groups = stats.failures(db)
        for number, group in enumerate(groups.to_dict("records"), start=1):
            print(f"{number}. {counted(group['file_count'])}: {group['error']}")
        if given.requeue is not None:
            error = groups["error"].iloc[given.requeue - 1]
            queued = queue.requeue(db, failed=True, error=error, actor="morning report")
            print(f"{counted(len(queued))} queued again")
    return 1 if any(finding.level == "error" for finding in findings) else 0


if __name__ == "__main__":
    raise SystemExit(main())
