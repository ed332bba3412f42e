"""The OpenAPI document as one plain page: no script, nothing fetched from anywhere."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "summary{cursor:pointer;padding:.3rem 0}table{border-collapse:collapse;display:block;overflow-x:auto}"
    "code{font-size:.95em}summary code{overflow-wrap:anywhere}pre{white-space:pre-wrap}"
    "td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}h2{margin-top:2rem}"
    ":target{scroll-margin-top:4rem}"
    "@media(max-width:40rem){tr,td{display:block}td{padding:0}td:empty{display:none}tr{padding:.4rem 0}}"
)
POLICY: Final = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""Content security policy under which the page is served."""

Spec = Mapping[str, Any]
_OURS: Final = re.compile(r"\b[A-Z][A-Za-z]+\b")


class ReferencePage(OpenAPIRenderPlugin):
    """Draws every operation and schema of the document."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return page(openapi_schema).encode()


def page(spec: Spec) -> str:
    """The whole document as HTML."""
    title = escape(spec["info"]["title"])
    schemas = spec.get("components", {}).get("schemas", {})
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">',
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>",
        f"<p>{escape(spec['info'].get('description', ''))}</p>",
        '<p>As <a href="/docs/openapi.json">OpenAPI JSON</a>. Requests below <code>/v1</code> carry ',
        "<code>Authorization: Bearer &lt;token&gt;</code>.</p><h2>Operations</h2>",
        *(_operation(m, p, o) for p, ops in spec["paths"].items() for m, o in _methods(ops)),
        "<h2>Schemas</h2>",
        *(_schema(name, schema) for name, schema in sorted(schemas.items())),
        "</body></html>",
    ]
    return "".join(parts)


def _methods(operations: Spec) -> Iterator[tuple[str, Spec]]:
    return ((m, o) for m, o in operations.items() if m in ("get", "post", "put", "patch", "delete"))


def _operation(method: str, path: str, operation: Spec) -> str:
    rows = [_row(p["name"], p["in"], _type(p.get("schema", {})), p) for p in operation.get("parameters", ())]
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(_row("body", media, _type(body.get("schema", {})), {}))
    for status, response in operation.get("responses", {}).items():
        kinds = ", ".join(_type(c.get("schema", {})) for c in response.get("content", {}).values())
        rows.append(_row(status, "answer", kinds, response))
    summary, text = (escape(operation.get(k) or "") for k in ("summary", "description"))
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code> {summary}</summary><p>{text}</p>"
        f"<table>{''.join(rows)}</table></details>"
    )


def _schema(name: str, schema: Spec) -> str:
    required = set(schema.get("required", ()))
    rows = [
        _row(field, "required" if field in required else "", _type(inner), inner)
        for field, inner in schema.get("properties", {}).items()
    ]
    values = f"<p>{escape(_type(schema))}</p>" if "enum" in schema else ""
    shown = "".join(f"<pre>{escape(json.dumps(one, indent=2))}</pre>" for one in schema.get("examples", ()))
    return (
        f"<details><summary><code>{escape(name)}</code></summary>"  # a link to what is within opens it
        f'<p id="{escape(name)}">{escape(schema.get("description") or "")}</p>{values}'
        f"<table>{''.join(rows)}</table>{shown}</details>"
    )


def _row(name: str, place: str, kind: str, spec: Spec) -> str:
    cells = (f"<code>{escape(str(name))}</code>", escape(place), f"<code>{_linked(kind)}</code>")
    return (
        f"<tr>{''.join(f'<td>{c}</td>' for c in cells)}<td>{escape(spec.get('description') or '')}</td></tr>"
    )


def _linked(kind: str) -> str:
    """Names of ours begin with a capital, and what JSON calls its own types does not."""
    return _OURS.sub(r'<a href="#\g<0>">\g<0></a>', escape(kind))


def _type(schema: Spec) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " | ".join(_type(s) for s in schema[key])
    if "enum" in schema:
        return " | ".join(str(v) for v in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)
