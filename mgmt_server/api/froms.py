"""Which tables expressions speak of: a view joins those, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, inspect


def table_of(target: Any) -> Any:
    """The FROM that a mapped class, an alias of one or a table stands for."""
    return getattr(inspect(target, raiseerr=False), "selectable", target)


def tables_in(expression: Any) -> set[Any]:
    """The FROMs that an expression's columns belong to, those inside subqueries left out."""
    if hasattr(expression, "__clause_element__"):
        expression = expression.__clause_element__()
    found = set()
    stack = [expression]
    while stack:
        element = stack.pop()
        kind = getattr(element, "__visit_name__", "")
        if kind in ("select", "scalar_select", "subquery", "grouping_select", "exists"):
            continue
        if kind == "column" and getattr(element, "table", None) is not None:
            table = element.table
            found.add(getattr(table, "_deannotate", lambda t=table: t)())
            continue
        stack.extend(element.get_children())
    return found


def mentions(conditions: Sequence[ColumnElement[Any]]) -> set[Any]:
    return set().union(*(tables_in(c) for c in conditions)) if conditions else set()
