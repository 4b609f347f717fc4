"""Write the generated parts of the documentation from the code: `python docs/generate.py`; `--check` only compares.

A part stands in a page between `<!-- generated: NAME -->` and `<!-- end of generated -->`, so that it is read in the
repository as on the site. `make docs` writes them, and a test holds the pages against the code.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import opskit
from opskit import errors, stats
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.settings import Settings
from opskit.settings.command_line import flag_name
from opskit.web.api import metrics
from opskit.web.api.app import create_api

DOCS = Path(__file__).resolve().parent
SQL = DOCS.parent / "sql"
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end of generated -->)", flags=re.DOTALL)


def settings() -> str:
    """Every setting: variable, flag, meaning."""
    return _table(
        ("variable", "flag", "meaning"),
        (
            (f"`{field.metadata['env']}`", f"`{flag_name(field.name)}`", _cell(field.metadata["help"]))
            for field in dataclasses.fields(Settings)
        ),
    )


def verbs() -> str:
    """Every verb in one line."""
    return _table(
        ("verb", "what it does"),
        ((f"[`opskit {choice.dest}`](#opskit-{choice.dest})", _cell(choice.help or "")) for choice in _choices()),
    )


def usage() -> str:
    """Every verb with its arguments and flags, without those of the settings."""
    parsers = _verbs().choices
    return "\n".join(_usage(choice.dest, choice.help or "", parsers[choice.dest]) for choice in _choices())


def endpoints() -> str:
    """Every endpoint in one line."""
    return _table(
        ("endpoint", "what it does"),
        [(f"`{verb.upper()} /api{path}`", _cell(one["summary"])) for path, verb, one in _operations()],
    )


def parameters() -> str:
    """Every endpoint that takes parameters or a body, with what it takes."""
    schemas = _document()["components"]["schemas"]
    parts = []
    for path, verb, one in _operations():
        rows = [
            (f"`{given['name']}`", given["in"], _kind(given["schema"]), _cell(given.get("description", "")))
            for given in one.get("parameters", ())
        ]
        for media, content in one.get("requestBody", {}).get("content", {}).items():
            body = content["schema"]
            body = body if "$ref" in body else next((each for each in body.get("anyOf", ()) if "$ref" in each), body)
            properties = schemas[body["$ref"].rpartition("/")[2]]["properties"] if "$ref" in body else {}
            place = "form" if "multipart" in media else "body"
            rows += [
                (f"`{name}`", place, _kind(field), _cell(field.get("description", "")))
                for name, field in properties.items()
            ]
        if rows:
            parts.append(f"### {verb.upper()} /api{path}\n\n" + _table(("name", "in", "type", "meaning"), rows))
    return "\n".join(parts)


def error_tree() -> str:
    """Every error with its default sentence."""
    tree = [kind for kind in vars(errors).values() if inspect.isclass(kind) and kind.__module__ == errors.__name__]
    return _table(
        ("error", "its default sentence", "a kind of"),
        (
            (
                f"`{kind.__name__}`",
                _cell(inspect.cleandoc(kind.__doc__ or "").splitlines()[0]),
                ", ".join(f"`{base.__name__}`" for base in kind.__bases__),
            )
            for kind in tree
        ),
    )


def sql_files() -> str:
    """Every SQL file that a person may run, with the first sentence of its header."""
    return _table(("file", "what it does"), map(_sql_row, sorted(SQL.glob("[!_]*.sql"))))


def sql_folders() -> str:
    """The SQL files of migration, doctor and prove."""
    parts = []
    for folder in sorted(path for path in SQL.iterdir() if path.is_dir()):
        rows = map(_sql_row, sorted(folder.glob("[!_]*.sql")))
        parts.append(f"### sql/{folder.name}/\n\n" + _table(("file", "what it does"), rows))
    return "\n".join(parts)


def series() -> str:
    """Every series of /metrics."""
    text = metrics.exposition(_nothing(), [], _empty_tally(), "production").decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE))
    helps = re.findall(r"^# HELP (\S+) (.*)$", text, flags=re.MULTILINE)
    return _table(
        ("series", "kind", "labels", "meaning"),
        ((f"`{name}`", kinds[name], _labels(text, name), _cell(help)) for name, help in helps),
    )


def frames() -> str:
    """The columns of every statistic."""
    parts = []
    for name, one in stats.STATISTICS.items():
        rows = ((f"`{column}`", f"`{kind}`", kind.unit) for column, kind in one.columns.items())
        parts.append(f"### {name}\n\n{one.sentence}.\n\n" + _table(("column", "dtype", "unit"), rows))
    return "\n".join(parts)


def functions(package: str) -> str:
    """The functions and records that a package exports, each for mkdocstrings to describe."""
    module = getattr(opskit, package)
    named = [
        name
        for name in module.__all__
        if inspect.isfunction(getattr(module, name)) or inspect.isclass(getattr(module, name))
    ]
    return "\n".join(f"::: opskit.{package}.{name}\n" for name in sorted(named, key=str.lower))


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "verbs": verbs,
    "usage": usage,
    "endpoints": endpoints,
    "parameters": parameters,
    "errors": error_tree,
    "sql-files": sql_files,
    "sql-folders": sql_folders,
    "series": series,
    "frames": frames,
    **{f"python-{name}": partial(functions, name) for name in ("queue", "stats", "migration", "doctor", "jupyter")},
}


def generated(text: str) -> str:
    """A page with its generated parts as the code has them now."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", text)


def pages() -> Iterator[Path]:
    """Every page that has a generated part."""
    return (page for page in sorted(DOCS.rglob("*.md")) if _PART.search(page.read_text(encoding="utf-8")))


def _usage(name: str, text: str, parser: argparse.ArgumentParser) -> str:
    rows = [
        (_flags(action), _cell(_expanded(action)))
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and not _is_common(action)
    ]
    table = "\n" + _table(("argument", "meaning"), rows) if rows else ""
    return f"### opskit {name}\n\n{text[0].upper()}{text[1:]}.\n{table}"


def _flags(action: argparse.Action) -> str:
    value = action.metavar or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return f"`{value}`"
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{flag}{takes}`" for flag in action.option_strings)


def _expanded(action: argparse.Action) -> str:
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    if action.choices and not any(str(choice) in text for choice in action.choices):
        text += f" ({', '.join(map(str, action.choices))})"
    return text


def _is_common(action: argparse.Action) -> bool:
    """Whether every verb has it: the settings, --json, --verbose, --help."""
    common = {flag_name(field.name) for field in dataclasses.fields(Settings)} | {
        "--json",
        "--verbose",
        "--help",
        "--help-settings",
    }
    return bool(common & set(action.option_strings))


def _verbs() -> Any:
    return next(one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))


def _choices() -> list[argparse.Action]:
    return list(_verbs()._choices_actions)


def _document() -> dict[str, Any]:
    own = Settings.load({})
    return create_api(lambda: Database(own), own).openapi()


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in _document()["paths"].items():
        if path.startswith("/processing/"):
            for verb, one in operations.items():
                yield path, verb, one


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        kinds = dict.fromkeys(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
        return " or ".join(kinds)
    if "enum" in schema:
        return ", ".join(f"`{each or '(all)'}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "any")


def _sql_row(path: Path) -> tuple[str, str]:
    header = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("-- "):
            break
        header.append(line.removeprefix("-- "))
    sentence = re.split(r"(?<=[.:;?]) (?=[A-Z])", " ".join(header))[0]
    return f"`{path.relative_to(SQL.parent)}`", _cell(sentence)


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(stats.CONCURRENCY, 0)


def _empty_tally() -> metrics.Tally:
    return metrics.Tally()


def _labels(text: str, name: str) -> str:
    line = re.search(rf"^{name}(?:_bucket)?{{(.*?)}} ", text, flags=re.MULTILINE)
    return ", ".join(f"`{label}`" for label in re.findall(r'(\w+)="', line[1])) if line else ""


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cell or '–' for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the parts, or say which pages are behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is behind the code")
    check = parser.parse_args().check
    behind = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = generated(text)
        if new != text:
            behind.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    for page in behind:
        what = "is behind the code: run python docs/generate.py" if check else "written"
        print(f"{page.relative_to(DOCS.parent)} {what}")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main())
