"""Developing a processor against files that failed: one tried on many, and a place to play where none has failed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from opskit import migration, queue
from opskit.database import Database
from opskit.database.scratch import Scratch, scratch
from opskit.errors import ProcessorError, Reject
from opskit.files.claimed import ClaimedFile, Processor
from opskit.jupyter import given
from opskit.jupyter.notebooks import samples
from opskit.jupyter.replay import replay, row_of
from opskit.queue import claims, nodes
from opskit.queue.error_identity import headline, of_exception
from opskit.queue.error_text import told

_OUTCOMES = {"id": "string", "original_filename": "string", "outcome": "string", "seconds": "Float64", "said": "string"}


def try_all(db: Database, ids: Iterable[object] | object, processor: Processor | str | None = None) -> Any:
    """Replay several files; whatever a processor writes is rolled back.

    Args:
        db: An open database.
        ids: The files; one id is one file.
        processor: As for `replay`.

    Returns:
        | column                | dtype   | unit                                       |
        |-----------------------|---------|--------------------------------------------|
        | id, original_filename | string  | the file                                   |
        | outcome               | string  | completed, rejected or raised              |
        | seconds               | Float64 | s; NA where it was not completed           |
        | said                  | string  | its result, or the line that tells the error |

        In the order of *ids*. Empty: the same columns, no rows.

    Raises:
        OpskitError: There is no such file.
        ProcessorError: The processor cannot be loaded.
    """
    from opskit.stats.frames import frame_of

    given.database(db)
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        ids = [ids]
    return frame_of([_tried(db, str(id), processor) for id in ids], _OUTCOMES, empty="no files to try")


def _tried(db: Database, id: str, processor: Processor | str | None) -> dict[str, object]:
    row = {"id": id, "original_filename": row_of(db, id)["original_filename"], "seconds": None}
    try:
        done = replay(db, id, processor)
    except (Exception, SystemExit) as error:
        if isinstance(error, ProcessorError):
            raise
        return row | {"outcome": "rejected" if isinstance(error, Reject) else "raised", "said": headline(error)}
    return row | {"outcome": "completed", "seconds": done.seconds, "said": str(done.result)}


def refusing(file: ClaimedFile) -> dict[str, Any]:
    """A processor with a fault, to play with: it takes each file for UTF-8 text with commas."""
    with file.open() as stream:
        lines = stream.read().decode("utf-8").splitlines()
    return {"columns": [line.split(",")[1] for line in lines]}


def playground(db: Database) -> Scratch:
    """A schema of its own with the sample files, on which `refusing` has failed.

    Args:
        db: An open database. Its tables are not touched.

    Raises:
        DatabaseError: The database's user may not create schemas.
    """
    made = scratch(db)
    migration.migrate(made)
    queue.enqueue(made, samples())
    node = nodes.register(made, "node-played", str(uuid.uuid4()))
    assert node is not None
    while (claim := claims.claim(made, node)).outcome == "claimed":
        assert claim.row is not None
        id = str(claim.row["id"])
        try:
            result = replay(made, id, refusing).result
        except Exception as error:
            claims.fail(
                made, id=id, token=claim.token, outcome="raised", error=told(error), max_failures=1, retry_seconds=0,
                actor="node-played", identity=of_exception(error),
            )  # fmt: skip
        else:
            claims.complete(made, id=id, token=claim.token, result=result)
    nodes.deregister(made, node, "the play is over")
    return made
