"""Print the pins of what is installed here and belongs to opskit[dev]: the versions that the tests have run with."""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(name: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Everything that a distribution with these extras needs on this machine, by name."""
    found: dict[str, str] = {}
    todo, done = [(name, extras)], set()
    while todo:
        one = todo.pop()
        if one in done:
            continue
        done.add(one)
        package = metadata.distribution(one[0])
        found[canonicalize_name(one[0])] = package.version
        for text in package.requires or []:
            needs = Requirement(text)
            if needs.marker is None or any(needs.marker.evaluate({"extra": extra}) for extra in (*one[1], "")):
                todo.append((needs.name, tuple(sorted(needs.extras))))
    return found


if __name__ == "__main__":
    print("# What the tests ran with: every package of .[dev], pinned. Made by: make lock")
    lines = (f"{name}=={version}" for name, version in sorted(pins("opskit", ("dev",)).items()) if name != "opskit")
    print("\n".join(lines), file=sys.stdout)
