"""The history checker: what was recorded of a run, held against the promises.

`record` lets the database write down every change of state by itself, whatever nodes, operators and
zombies say they did; `examine` then counts, and names every violation. Shared by `opskit prove` and the tests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from opskit.database import Database, queries


@dataclass(slots=True)
class History:
    """What a recorded run amounts to.

    Attributes:
        claims: How many claims there were.
        completions: How often each file was completed.
        effects: How many effects each file has.
        twice_claimed: Tokens that claimed more than one file.
        crowded: Moments at which a server held more than one file.
        wrong: Every violation, one phrase each.
    """

    claims: int = 0
    completions: Counter[str] = field(default_factory=Counter)
    effects: dict[str, int] = field(default_factory=dict)
    twice_claimed: int = 0
    crowded: int = 0
    wrong: list[str] = field(default_factory=list)


def record(db: Database) -> None:
    """Begin to record, on tables of a test's or a proof's own.

    SQL: sql/prove/record.sql
    """
    with db.connection() as connection:
        for statement in queries.statements("prove/record"):
            connection.execute(statement.compose(db.names))


def examine(db: Database) -> History:
    """Hold the record against the promises.

    Each file completed once, effects neither doubled nor missing, one claim per token, one file per server at any time.

    SQL: sql/prove/transitions.sql, sql/prove/effects.sql
    """
    found = History()
    tokens: dict[str, str] = {}
    holding: dict[str, set[str]] = {}
    for step in db.run("prove/transitions"):
        file, server = step["file_id"], step["server_id"]
        if step["was"] == "processing":
            holding.setdefault(step["server_was"], set()).discard(file)
        if step["became"] == "processing":
            found.claims += 1
            token = str(step["token"])
            if step["token"] is not None and token in tokens:
                found.twice_claimed += 1
                found.wrong.append(f"token {token} claimed {tokens[token]} and {file}")
            tokens[token] = file
            holding.setdefault(server, set()).add(file)
            if step["token"] is not None and len(holding[server]) > 1:
                found.crowded += 1
                found.wrong.append(f"{server} held {sorted(holding[server])} at once")
        if step["became"] == "completed" and step["was"] != "completed":
            found.completions[file] += 1
    found.effects = {row["file_id"]: row["count"] for row in db.run("prove/effects")}
    found.wrong += [
        f"file {file} was completed {times} times" for file, times in found.completions.items() if times > 1
    ]
    if found.effects:
        found.wrong += [f"file {file} has {times} effects" for file, times in found.effects.items() if times != 1]
        found.wrong += [
            f"file {f} is completed without its effect" for f in found.completions if f not in found.effects
        ]
        found.wrong += [
            f"file {f} has an effect but is not completed" for f in found.effects if f not in found.completions
        ]
    return found
