"""Retry rules: `ConnectionError=20:30s` gives an exception another budget and another wait than all others."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_RULE = re.compile(r"(?P<name>[A-Za-z_][\w.]*)=(?P<times>\d{1,6})(:(?P<wait>\d+(\.\d+)?)(?P<unit>[smh]?))?")
_LONGEST_SECONDS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Rule:
    """How often an exception is tried, and how far apart.

    Attributes:
        name: The exception's class, or one that it is derived from; with or without its module.
        times: Bad attempts after which a file is failed.
        wait_seconds: Wait before each retry [s]; None: as for all others.
    """

    name: str
    times: int
    wait_seconds: float | None


def rules(text: str) -> tuple[Rule, ...]:
    """The rules in a comma-separated list.

    Raises:
        ValueError: One cannot be read; its argument is that one.
    """
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        match = _RULE.fullmatch(each)
        wait = float(match["wait"]) * _UNITS[match["unit"]] if match and match["wait"] else None
        if match is None or int(match["times"]) < 1 or (wait or 0) > _LONGEST_SECONDS:
            raise ValueError(each)
        found.append(Rule(match["name"], int(match["times"]), wait))
    return tuple(found)


def rule_for(error: BaseException, among: tuple[Rule, ...]) -> Rule | None:
    """The first rule that names the class of an exception, or one that it is derived from; None when none does."""
    kinds = type(error).__mro__
    names = {name for kind in kinds for name in (kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}")}
    return next((rule for rule in among if rule.name in names), None)
