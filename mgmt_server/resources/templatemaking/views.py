"""A template that was made here, as its maker sees it: with the one zone that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage
from mgmt_server.model.template import TemplateInZone
from mgmt_server.model.tenancy import Caller
from mgmt_server.resources.template.views import template_alone_view, template_view

THERE = ("zoneid", "zonename", "isready", "status", "size", "physicalsize", "downloaddetails")


def _there(session: Session, caller: Caller, ids: list[int]) -> Mapping[int, Mapping[str, Any]]:
    found = {}
    for number in ids:  # one: this is the answer of a command
        row = template_view.find(session, caller, TemplateInZone.template_id == number) or {}
        found[number] = {name: row[name] for name in THERE if name in row}
    return found


made_template_view = template_alone_view.extended(more=(PerPage(THERE, _there),))
