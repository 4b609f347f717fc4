"""Who may import whom: the floors of the house, walked from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "opskit"

FLOORS: dict[str, int] = {
    "_version": 0, "errors": 0, "display": 0, "files": 0, "mailbox": 0, "parent": 0, "ending": 0, "logs": 0,
    "notebook_bar": 0, "kept": 0, "visible": 0, "private": 0,
    "hosts": 0, "proxies": 0, "forks": 0, "results": 1, "loading": 1, "error_identity": 0, "error_text": 0,
    "throttle": 0, "json_keys": 0,
    "settings": 1, "queries": 1, "server_id": 1, "connection": 1, "flags": 1, "access": 1,
    "session": 1, "parameters": 1, "translation": 1, "pool": 1, "names": 1,
    "database": 2, "embedded": 2, "storage": 2, "listing": 2, "process_state": 2,
    "claims": 3, "nodes": 3, "reaper": 3, "intake": 3, "stats": 3, "figures": 3, "schema": 3, "doctor": 3, "history": 3,
    "completing": 3, "standing": 3, "interruptions": 3, "breaker": 3, "quarantine": 3, "wake": 3, "processors": 3,
    "formats": 3, "show": 3, "scratch": 3,
    "prove": 4, "bench": 4, "child": 4, "desk": 4, "worker": 4, "up": 4, "dashboard": 4, "notebooks": 4,
    "api": 4, "acts": 4, "apidocs": 4, "bodies": 4, "calls": 4, "gate": 4, "metrics": 4,
    "stream": 4,
    "cli": 5, "__init__": 5, "__main__": 5,
}  # fmt: skip

# Verbs never import one another, and doors start one another as processes; what belongs together may.
TOGETHER = {
    ("worker", "child"), ("child", "desk"), ("processors", "formats"), ("up", "show"), ("dashboard", "api"),
    ("api", "acts"), ("api", "apidocs"), ("api", "bodies"), ("api", "calls"), ("api", "gate"), ("api", "metrics"),
    ("api", "stream"), ("stream", "calls"), ("acts", "bodies"), ("acts", "calls"),
    ("interruptions", "claims"), ("breaker", "claims"), ("doctor", "schema"), ("claims", "completing"),
    ("up", "doctor"), ("intake", "standing"), ("schema", "standing"), ("nodes", "standing"),
    ("schema", "reaper"),
}  # fmt: skip

# Third parties are rationed: a node must stay light, and each library has its one place.
RATIONS: dict[str, set[str]] = {
    "pydantic": {"api", "bodies"},
    "psycopg": {
        "files", "queries", "connection", "session", "parameters", "translation", "pool", "database", "intake",
        "schema", "claims", "desk", "interruptions", "wake", "processors", "formats", "history", "prove", "scratch",
        "notebooks", "completing", "process_state",
    },
    "psycopg_pool": {"pool"},
    "sqlalchemy": {"pool", "database"},
    "pandas": {"stats", "figures", "dashboard"},
    "plotly": {"figures", "dashboard"},
    "fastapi": {"api", "acts", "calls", "gate", "stream"},
    "starlette": {"api", "gate", "stream", "dashboard"},
    "streamlit": {"dashboard"},
    "prometheus_client": {"metrics"},
    "fsspec": {"files", "storage"},
    "pyarrow": {"formats"},
    "openpyxl": {"formats"},
    "rich": {"show", "up"},
    "tqdm": {"notebook_bar"},
}  # fmt: skip
STANDARD = set(__import__("sys").stdlib_module_names)


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        found.append((inside.parts[0].removesuffix(".py"), path))
    return found


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "opskit":
                names |= {f"opskit.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("opskit.")} & FLOORS.keys()


@pytest.mark.parametrize(("name", "path"), modules(), ids=[str(path.relative_to(PACKAGE)) for _, path in modules()])
def test_nobody_reaches_up_and_neighbours_keep_apart(name: str, path: Path) -> None:
    assert name in FLOORS, f"{path.name} stands on no floor"
    floor = FLOORS[name]
    for other in own(imports(path)) - {name}:
        assert FLOORS[other] <= floor, f"{name} (floor {floor}) reaches up to {other} (floor {FLOORS[other]})"
        # show is what terminals see: doors and the roof may use it.
        if floor in (3, 4) and FLOORS[other] == floor:
            assert (name, other) in TOGETHER, f"{name} imports its neighbour {other}"


@pytest.mark.parametrize(("name", "path"), modules(), ids=[str(path.relative_to(PACKAGE)) for _, path in modules()])
def test_third_parties_stay_in_their_place(name: str, path: Path) -> None:
    for library in {imported.split(".")[0] for imported in imports(path)} - STANDARD - {"opskit"}:
        assert library in RATIONS, f"{path.name} imports {library}, which nobody is allowed to"
        assert name in RATIONS[library], f"{path.name} imports {library}; that belongs to {sorted(RATIONS[library])}"


def test_the_page_launcher_holds_nothing_but_the_launch() -> None:
    launcher = PACKAGE.parent / "app.py"

    lines = [line for line in launcher.read_text(encoding="utf-8").splitlines() if line.strip()]

    assert len(lines) < 30
    assert any(line.startswith("app = st.App(") for line in lines)
