"""The names of one environment's tables, indexes and triggers."""

from __future__ import annotations

from opskit.settings import DEFAULT_TABLE, Settings

_HANGING = {
    "queue_index": "queue",
    "held_index": "held",
    "ended_index": "ended",
    "failed_index": "fails",
    "alike_index": "alike",
    "waiting_index": "waits",
    "lanes_index": "lanes",
    "state_check": "state",
    "fence_check": "fence",
    "guard": "guard",
    "guard_new": "new",
    "wake": "wake",
}
_BY = ("file", "time", "kind", "node")


def names(settings: Settings) -> dict[str, str]:
    """Every name, by what it is called in `sql/`.

    Each files table has nodes, events and pauses of its own. Those of `uploaded_files` are called as ever.
    """
    prefix, files = settings.prefix, settings.files
    shared = f"{prefix}processing"
    beside = shared if settings.table == DEFAULT_TABLE else f"{files}_opskit"
    events, old_events = f"{beside}_events", f"{prefix}superseded_events"
    keys = {"nodes_key": "nodes_server_id_epoch_key", "nodes_state": "nodes_state_check", "logs_time": "logs_time"}
    keys["nodes_orphan"] = "nodes_on_orphan_check"
    if beside != shared:
        events, old_events = beside, f"{files}_superseded"
        keys = {"nodes_key": "nodes_key", "nodes_state": "nodes_state", "nodes_orphan": "on_orphan"}
        keys["logs_time"] = "logs_time"
    return {
        # Where an older version kept what belongs to any other files table, too.
        **{f"shared_{name}": f"{shared}_{name}" for name in ("nodes", "events", "pauses")},
        "files": files,
        # Stands in for the column of the lanes, which only the database knows.
        "lane_column": "processing_status",
        "channel": f"opskit_{files}",
        "cancel_channel": f"opskit_cancel_{files}",
        **{name: f"{beside}_{name}" for name in ("nodes", "events", "pauses", "logs")},
        **{name: f"{beside}_{suffix}" for name, suffix in keys.items()},
        **{name: f"{files}_processing_{suffix}" for name, suffix in _HANGING.items()},
        **{f"events_by_{what}": f"{events}_by_{what}" for what in _BY},
        # Where indexes of an older version wait until their successors are built; no longer than the names above.
        **{f"old_{key}": f"{files}_superseded_{suffix}" for key, suffix in _HANGING.items() if key.endswith("_index")},
        **{f"old_events_by_{what}": f"{old_events}_by_{what}" for what in _BY},
    }
