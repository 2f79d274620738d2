"""Domains as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import PerPage, View, shown
from mgmt_server.model.account import Domain
from mgmt_server.resources.account.totals import of_domains
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import spoken_path

Parent = aliased(Domain)


def _has_child() -> Any:
    child = aliased(Domain)
    return (
        select(child.id)
        .where(child.parent_id == Domain.id, child.removed.is_(None))
        .correlate(Domain.__table__)
        .exists()
    )


def _view(*more: PerPage) -> View:
    return View(
        "domain",
        Domain,
        response="DomainResponse",
        keyword=(Domain.name,),
        more=more,
        order=(Domain.path,),
        joins=((Parent, Parent.id == Domain.parent_id),),
        id=Domain.uuid,
        name=Domain.name,
        level=Domain.level,
        parentdomainid=Parent.uuid,
        parentdomainname=Parent.name,
        haschild=_has_child(),
        networkdomain=Domain.network_domain,
        path=shown(spoken_path, Domain.path),
        state=Domain.state,
        created=Domain.created,
        hasannotations=has_annotations("DOMAIN", Domain.uuid),
    )


domain_view = _view(of_domains)
brief_view = _view()
