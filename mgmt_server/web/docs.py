"""The page that names every command."""

from __future__ import annotations

from html import escape

from mgmt_server.api.describe import described


def page() -> str:
    """Every command with its parameters, on one plain page: no script, nothing loaded from elsewhere."""
    parts = []
    for command in sorted(described(None, simulator=True), key=lambda c: c["name"]):
        rows = "".join(
            f"<tr><td>{escape(p['name'])}</td><td>{p['type']}</td><td>{'required' if p['required'] else ''}</td>"
            f"<td>{escape(p['description'])}</td></tr>"
            for p in command["params"]
        )
        parts.append(
            f"<h3 id={command['name']}>{command['name']}{' (asynchronous)' if command['isasync'] else ''}</h3>"
            f"<p>{escape(command['description'])}</p><table>{rows}</table>"
        )
    style = "body{font:15px sans-serif;max-width:60em;margin:2em auto}td{padding:2px 12px 2px 0;vertical-align:top}"
    return f"<!doctype html><title>Cloudwright API</title><style>{style}</style><h1>Commands</h1>{''.join(parts)}"
