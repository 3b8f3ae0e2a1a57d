"""The page at /docs: what can be asked, as OpenAPI describes it. It has no script, and takes nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any


def page(described: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description: each route and each body, with its details folded."""
    routes = [
        _details(f"{method.upper()} {path}", route)
        for path, methods in described["paths"].items()
        for method, route in methods.items()
    ]
    bodies = [_details(name, body) for name, body in described["components"]["schemas"].items()]
    title = escape(f"{described['info']['title']} {described['info']['version']}")
    parts = [f"<h1>{title}</h1>", *routes, "<h2>Bodies</h2>", *bodies, '<p><a href="openapi.json">openapi.json</a></p>']
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{"".join(parts)}</html>'


def _details(name: str, described: Mapping[str, Any]) -> str:
    said, facts = described.get("description", ""), json.dumps(described, indent=2, ensure_ascii=False)
    return f"<details><summary><code>{escape(name)}</code> {escape(said)}</summary><pre>{escape(facts)}</pre></details>"
