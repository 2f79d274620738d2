"""What is dedicated to whom, as operators see it: one view for each kind."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Cluster, Dedication, Pod, Zone


def _view(kind: str, table: Any) -> View:
    named = {f"{kind}id": table.uuid, f"{kind}name": table.name}
    return View(
        f"dedicated{kind}",
        Dedication,
        response=f"Dedicate{kind.capitalize()}Response",
        keyword=(table.name,),
        joins=(
            (table, table.id == Dedication.resource_id),
            (Domain, Domain.id == Dedication.domain_id),
            (Account, Account.id == Dedication.account_id),
            (AffinityGroup, AffinityGroup.id == Dedication.group_id),
        ),
        id=Dedication.uuid,
        domainid=Domain.uuid,
        accountid=Account.uuid,
        affinitygroupid=AffinityGroup.uuid,
        **named,
    )


zone_view, pod_view = _view("zone", Zone), _view("pod", Pod)
cluster_view, host_view = _view("cluster", Cluster), _view("host", Host)
