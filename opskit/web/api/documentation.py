"""The API's documentation as one page of HTML, made from its OpenAPI document.

Nothing is loaded from elsewhere and no script runs, so that it is read in closed networks, too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""The page's Content-Security-Policy."""
_TITLES = {"look": "Look", "act": "Act", "probe": "Probe"}
_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c2024, #e8eaed); --soft: light-dark(#5b6470, #a3abb6);
  --line: light-dark(#dfe3e8, #363c45); --field: light-dark(#f5f6f8, #1d2127); --get: light-dark(#0b6bcb, #6cb2ff);
  --post: light-dark(#a15c00, #ffb454); }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 5rem; background: light-dark(#fff, #14171b);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .5rem; font-size: 1.2rem; }
h3 { margin: 0; font-size: 1rem; font-weight: 600; }
h4 { margin: 1rem 0 .25rem; font-size: .85rem; color: var(--soft); }
a { color: var(--get); } code, pre { font: 13px/1.5 ui-monospace, monospace; }
p { margin: .35rem 0; } .soft { color: var(--soft); }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
.verb { font: 600 .8rem ui-monospace, monospace; margin-right: .5rem; } .GET { color: var(--get); }
.POST { color: var(--post); }
pre { background: var(--field); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
  overflow-x: auto; margin: .5rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: .2rem .9rem .2rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; color: var(--soft); font-size: .85rem; margin-top: .75rem; }
"""


def page(document: Mapping[str, Any], *, base: str) -> str:
    """The documentation as HTML.

    Args:
        document: The OpenAPI document.
        base: Where the API is reached: http://127.0.0.1:8501/api
    """
    info = document["info"]
    parts = [
        f"<h1>{escape(info['title'])} <span class=soft>{escape(info['version'])}</span></h1>",
        f"<p>{escape(info.get('summary', ''))}</p>",
        f'<p class=soft>For programs: <a href="{escape(base)}/openapi.json">openapi.json</a>. Reads are open, '
        "unless people sign in for the page: then every call needs the token. Calls that act need the token where one "
        "is set, and else a caller on the same machine. Every error is "
        "<code>{&quot;error&quot;: &quot;one sentence&quot;}</code>.</p>",
    ]
    section = None
    for path, verb, operation in _operations(document):
        (tag,) = operation["tags"]
        if tag != section:
            section = tag
            parts.append(f"<h2>{escape(_TITLES.get(tag, tag))}</h2>")
        parts.append(_article(document, path, verb, operation, base))
    title = escape(f"{info['title']} API")
    return (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method.upper(), operation


def _article(document: Mapping[str, Any], path: str, verb: str, operation: Mapping[str, Any], base: str) -> str:
    kind, schema = _body(document, operation)
    answers = operation["responses"]
    good = [status for status in answers if status.startswith("2")]
    parts = [
        f'<article id="{escape(operation["operationId"])}">',
        f"<h3><span class='verb {verb}'>{verb}</span><code>{escape(path)}</code></h3>",
        f"<p>{escape(operation['summary'])}</p>",
        f"<pre>{escape(_curl(path, verb, operation, base, kind, schema))}</pre>",
    ]
    if operation.get("parameters"):
        parts += ["<h4>Parameters</h4>", _table(_parameter(one) for one in operation["parameters"])]
    if schema:
        needed = schema.get("required", [])
        fields = schema["properties"].items()
        lines = (_line(document, name, one, name in needed) for name, one in fields)
        parts += [f"<h4>Body, {escape(kind)}</h4>", _table(lines)]
    kinds: Mapping[str, Any] = answers[good[0]].get("content", {})
    answered = _fields(document, kinds.get("application/json", {}).get("schema", {}))
    if answered:
        parts += ["<details><summary>Answer</summary>", _table(answered), "</details>"]
    statuses = ((f"<code>{status}</code>", escape(answers[status]["description"])) for status in sorted(answers))
    parts += ["<details><summary>Statuses</summary>", _table(statuses), "</details></article>"]
    return "".join(parts)


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        return kind, _resolved(document, content["schema"])
    return "", {}


def _curl(path: str, verb: str, operation: Mapping[str, Any], base: str, kind: str, schema: Mapping[str, Any]) -> str:
    line = f"curl -s {base}{path}"
    if verb != "GET":
        line = f"curl -s -X {verb} {base}{path}"
    if operation.get("security"):
        line += ' \\\n  -H "Authorization: Bearer $OPSKIT_API_TOKEN"'
    if kind == "multipart/form-data":
        line += " \\\n  -F files=@ledger.csv"
    elif schema.get("examples"):
        line += f" \\\n  -H 'Content-Type: {kind}' -d {shlex.quote(json.dumps(schema['examples'][0]))}"
    return line


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    about = {"description": parameter.get("description", ""), **parameter["schema"]}
    return _line({}, parameter["name"], about, parameter.get("required", False))


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The keys of an answer, or of each row of one."""
    whole = _resolved(document, schema)
    if whole.get("type") == "array":
        whole = _resolved(document, whole["items"])
    return [_line(document, name, one, True) for name, one in whole.get("properties", {}).items()]


def _line(document: Mapping[str, Any], name: str, schema: Mapping[str, Any], needed: bool) -> tuple[str, ...]:
    notes = [str(schema.get("description", ""))]
    if schema.get("default") not in (None, "", []):
        notes.append(f"Defaults to {json.dumps(schema['default'])}.")
    bounds = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "maxLength": "at most"}
    said = [f"{words} {schema[key]:g}" for key, words in bounds.items() if key in schema]
    if said:
        notes.append(f"{' and '.join(said).capitalize()}{' characters' if 'maxLength' in schema else ''}.")
    kind = _kind(document, schema) + ("" if needed else ", optional")
    return f"<code>{escape(name)}</code>", escape(kind), escape(" ".join(note for note in notes if note))


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(document, one) for one in schema["anyOf"])
    if "$ref" in schema:
        return "object" + _keys(_resolved(document, schema))
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema['items'])}"
    return {"date-time": "time", "binary": "file"}.get(schema.get("format", ""), str(schema.get("type", "any")))


def _keys(schema: Mapping[str, Any]) -> str:
    return f" ({', '.join(schema['properties'])})" if "properties" in schema else ""


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema itself: behind references, and the one beside null."""
    if "anyOf" in schema:
        return _resolved(document, schema["anyOf"][0])
    if "$ref" not in schema:
        return schema
    found: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return _resolved(document, found)


def _table(rows: Any) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table>{lines}</table></div>"
