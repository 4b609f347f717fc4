"""What the API does: its POST endpoints. A handler is one call of a verb; the middleware has judged who calls."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Request, Response, Security, UploadFile
from fastapi.security import HTTPBearer

from opskit import queue, stats
from opskit.database.session import Row
from opskit.queue import nodes
from opskit.support.wording import count
from opskit.web.api import requests, responses
from opskit.web.api.dependencies import Actor, Db, Json
from opskit.web.api.openapi import WRITING_ERRORS, described, operation

router = APIRouter(
    prefix="/processing",
    tags=["act"],
    responses=WRITING_ERRORS,
    generate_unique_id_function=operation,
    # For the document alone: the middleware has judged the call before it comes here.
    dependencies=[Security(HTTPBearer(auto_error=False, description="The token of OPSKIT_API_TOKEN."))],
)


@router.post("/cleanup-stale-locks", summary="End stale claims and orphans", responses=described(responses.Cleaned))
def cleanup_stale_locks(db: Db, actor: Actor, body: requests.CleanupBody | None = None) -> Json:
    body = body or requests.CleanupBody()
    done = queue.cleanup(db, claims=body.claims, server_id=body.server_id, actor=actor, reason=body.reason)
    return {
        "success": True,
        "cleanedFiles": len(done.ended),
        "message": done.message,
        "files": [_ended(row) for row in done.ended],
        "pending": [_ended(row) for row in done.pending],
        "skipped": done.skipped,
    }


def _ended(row: Row) -> Json:
    return _file(row) | {"outcome": row["outcome"], "reason": row["reason"]}


def _file(row: Row) -> Json:
    return {
        "id": row["id"],
        "filename": row["original_filename"],
        "serverId": row["server_id"],
        "startedAt": stats.iso(row["started_at"]),
    }


@router.post("/requeue", summary="Queue files again that have ended", responses=described(responses.Requeued))
def requeue(db: Db, actor: Actor, body: requests.RequeueBody) -> Json:
    if bool(body.ids) == body.failed:
        raise HTTPException(400, 'say which files: either "ids", or "failed": true')
    if body.ids and (body.error or body.server_id or body.lane):
        raise HTTPException(400, '"error", "serverId" and "lane" choose among failed files; they do not go with "ids"')
    rows = queue.requeue(
        db,
        body.ids,
        failed=body.failed,
        error=body.error,
        server_id=body.server_id,
        lane=body.lane,
        cancelled=body.cancelled,
        limit=body.limit,
        actor=actor,
        reason=body.reason,
    )
    return {
        "success": True,
        "requeuedFiles": len(rows),
        "message": f"Queued {count(len(rows), 'file')} again" if rows else "No files to queue again",
        "files": [_file(row) | {"was": row["was"]} for row in rows],
    }


@router.post(
    "/cancel",
    summary="Cancel files that are queued or in processing: they fail at once",
    responses=described(responses.Cancelled),
)
def cancel(db: Db, actor: Actor, body: requests.CancelBody) -> Json:
    if bool(body.ids) == body.every:
        raise HTTPException(400, 'say which files: either "ids", or "every": true')
    which: dict[str, Any] = {
        "every": body.every,
        "status": body.status,
        "server_id": body.server_id,
        "search": body.search,
        "lane": body.lane,
    }
    if body.dry_run:
        found = queue.preview_cancel(db, body.ids, **which, limit=body.limit)
        return {
            "success": True,
            "cancelledFiles": 0,
            "message": f"{count(len(found), 'file')} would be cancelled",
            "files": [_would_be_cancelled(row) for row in found],
            "skipped": [id for id in body.ids if id not in {row["id"] for row in found}],
        }
    done = queue.cancel(db, body.ids, **which, limit=body.limit, actor=actor, reason=body.reason)
    return {
        "success": True,
        "cancelledFiles": len(done.ended),
        "message": done.message,
        "files": [_ended(row) | {"was": row["was"]} for row in (*done.ended, *done.asked, *done.kept)],
        "skipped": done.skipped,
    }


def _would_be_cancelled(row: Row) -> Json:
    return {
        "id": row["id"],
        "filename": row["original_filename"],
        "serverId": row["processing_server_id"],
        "startedAt": stats.iso(row["processing_started_at"]),
        "was": row["processing_status"],
        "outcome": row["processing_status"],
        "reason": None,
    }


@router.post(
    "/undo",
    summary="Undo an act: queue again what it failed, resume what it paused",
    responses=described(responses.Undone),
)
def undo(db: Db, actor: Actor, body: requests.UndoBody) -> Json:
    if body.dry_run:
        done = queue.preview_undo(db, body.act)
    else:
        done = queue.undo(db, body.act, actor=actor, reason=body.reason)
    return {
        "success": True,
        "act": done.act,
        "kind": done.kind,
        "how": done.how,
        "files": [_file(row) | {"was": row["was"]} for row in done.files],
        "resumed": list(done.scopes),
        "kept": done.kept,
        "message": done.message[:1].upper() + done.message[1:],
    }


@router.post(
    "/expedite", summary="Give queued files a head start in the queue", responses=described(responses.Expedited)
)
def expedite(db: Db, actor: Actor, body: requests.ExpediteBody) -> Json:
    if bool(body.ids) == body.every:
        raise HTTPException(400, 'say which files: either "ids", or "every": true')
    which: dict[str, Any] = {
        "every": body.every,
        "search": body.search,
        "lane": body.lane,
        "limit": body.limit,
        "ahead_seconds": body.ahead_seconds,
    }
    if body.dry_run:
        rows = queue.preview_expedite(db, body.ids, **which)
        message = f"{count(len(rows), 'file')} would be moved ahead"
    else:
        rows = queue.expedite(db, body.ids, **which, actor=actor, reason=body.reason)
        message = f"Moved {count(len(rows), 'file')} ahead" if rows else "None of the files is queued"
    return {
        "success": True,
        "expeditedFiles": 0 if body.dry_run else len(rows),
        "message": message,
        "files": [
            {
                "id": row["id"],
                "filename": row["original_filename"],
                "arrivedAt": stats.iso(row["arrived_at"]),
                "place": stats.iso(row["place"]),
            }
            for row in rows
        ],
    }


@router.post(
    "/pause",
    summary="Pause a node, or all: no new claims; work in hand goes on",
    responses=described(responses.Changed),
)
def pause(db: Db, actor: Actor, body: requests.ScopeBody | None = None) -> Json:
    body = body or requests.ScopeBody()
    changed = queue.pause(db, body.server_id, actor=actor, reason=body.reason)
    return _changed(body.server_id, bool(changed), "is paused" if changed else "was paused already")


@router.post("/resume", summary="Resume a node, or all; ends quarantine, too", responses=described(responses.Resumed))
def resume(db: Db, actor: Actor, body: requests.ScopeBody | None = None) -> Json:
    body = body or requests.ScopeBody()
    did = nodes.resumption(db, body.server_id, actor=actor, reason=body.reason)
    changed = _changed(body.server_id, did.changed, ("is resumed" if did.changed else "was not paused") + did.more)
    return changed | {"leftQuarantine": list(did.cured), "stillPaused": list(did.held)}


def _changed(scope: str, changed: bool, what: str) -> Json:
    name = "every node" if scope == "*" else scope
    return {"success": True, "serverId": scope, "changed": changed, "message": f"{name} {what}"}


@router.post("/forget", summary="Forget nodes that are gone", responses=described(responses.Forgotten))
def forget(db: Db, actor: Actor, body: requests.ForgetBody) -> Json:
    gone = queue.forget(db, body.server_ids, actor=actor, reason=body.reason)
    return {
        "success": True,
        "forgotten": gone,
        "kept": [server_id for server_id in body.server_ids if server_id not in gone],
        "message": f"Forgot {count(len(gone), 'node')}" if gone else "No node was forgotten",
    }


@router.post(
    "/files",
    status_code=201,
    summary="Upload files and queue them",
    responses=described(responses.Uploaded, 201) | described(responses.Uploaded, 200),
)
def upload(
    db: Db,
    request: Request,
    response: Response,
    files: Annotated[list[UploadFile], File(min_length=1, description="One or more files.")],
    columns: Annotated[
        list[str] | None, Form(alias="set", description="Values for the application's columns, as name=value.")
    ] = None,
    again: Annotated[bool, Form(description="Queue files, too, whose bytes are there already.")] = False,
) -> Json:
    limit = request.app.state.upload_limit_bytes
    sent = [(file.filename, file.file) for file in files]
    done = queue.upload(db, sent, columns=_assignments(columns or []), limit_bytes=limit, again=again)
    queued, duplicates = (sum(file[key] is not None for file in done) for key in ("id", "duplicate_of"))
    if not queued:
        response.status_code = 200
    return {
        "success": True,
        "queuedFiles": queued,
        "duplicateFiles": duplicates,
        "message": f"Queued {count(queued, 'file')}"
        + (f"; {count(duplicates, 'was', 'were')} there already" if duplicates else ""),
        "files": [
            {
                "id": file["id"],
                "filename": file["original_filename"],
                "fileSize": file["file_size"],
                "sha256": file["sha256"],
                "duplicateOf": file["duplicate_of"],
            }
            for file in done
        ],
    }


def _assignments(given: list[str]) -> dict[str, str]:
    for text in given:
        if not text.partition("=")[0] or "=" not in text:
            raise HTTPException(400, f"set is {text!r}; it must look like name=value, for a column of the application")
    return dict(text.split("=", 1) for text in given)
