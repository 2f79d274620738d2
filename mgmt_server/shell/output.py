"""Answers as a table, JSON, YAML or bare text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, TextIO

FORMATS = ("table", "json", "yaml", "text")
FIRST = ("id", "name", "displayname", "displaytext", "state", "status", "type", "account", "domain", "zonename")
MOST = 8  # columns of a table that nobody chose


def rows_of(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The objects of an answer: those of a list, or the one that it holds; None where there are none."""
    for value in content.values():
        if isinstance(value, list) and all(isinstance(v, dict) for v in value):
            return value
    inner = [v for v in content.values() if isinstance(v, dict)]
    return inner if len(inner) == 1 and len(content) == 1 else None


def show(content: Mapping[str, Any], form: str, columns: Sequence[str] = (), to: TextIO | None = None) -> None:
    """Write an answer. `columns` choose fields, for all forms."""
    to = to or sys.stdout
    rows = rows_of(content)
    if columns and rows is not None:
        rows = [{c: row.get(c) for c in columns} for row in rows]
    shown: Any = rows if columns and rows is not None else content
    if form == "json":
        print(json.dumps(shown, indent=2, ensure_ascii=False), file=to)
    elif form == "yaml":
        import yaml

        yaml.safe_dump(shown, to, sort_keys=False, allow_unicode=True)
    elif form == "text":
        for row in rows if rows is not None else [content]:
            print("\t".join(_cell(v) for v in row.values()), file=to)
    else:
        _table(rows, content, columns, to)


def _table(rows: list[dict[str, Any]] | None, content: Mapping[str, Any], columns: Sequence[str], to: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows and not content:
        print("none", file=to)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    if rows is None or (len(rows) == 1 and not columns):  # one object: its fields below each other
        table.show_header = False
        table.add_column()
        table.add_column(overflow="fold")
        for name, value in sorted((rows[0] if rows else content).items()):
            table.add_row(name, _cell(value))
    else:
        chosen = columns or chosen_columns(rows)
        for name in chosen:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in chosen))
    if to.isatty():
        Console(file=to, highlight=False).print(table)
        return
    wide = StringIO()  # in files and pipes a row is a line, however long, without the blanks that fill a column up
    Console(file=wide, highlight=False, width=10_000).print(table)
    print("\n".join(line.rstrip() for line in wide.getvalue().splitlines()), file=to)


def chosen_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Fields worth a column: identity and state first, then what differs from row to row."""
    names = list(dict.fromkeys(n for row in rows for n in row))
    plain = [n for n in names if not any(isinstance(row.get(n), list | dict) for row in rows)]
    first = [n for n in FIRST if n in plain]
    differ = [n for n in plain if n not in first and len({str(r.get(n)) for r in rows}) > 1 and not n.endswith("id")]
    return (first + differ)[:MOST]


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return escape(json.dumps(value, ensure_ascii=False))
    return escape(str(value))
