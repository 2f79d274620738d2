"""Hypervisors that this cloud can use, and what they can do."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Use
from mgmt_server.model.host import MOST_MACHINES as GUESTS
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.zone import Cluster, Zone


@command("listHypervisors", roles=EVERYONE, key="hypervisor", reads=True)
def list_hypervisors(ctx: Context, zoneid: Use[Zone] | None = None) -> list[dict[str, Any]]:
    """List hypervisors.

    zoneid: those that clusters of this zone have
    """
    if zoneid is None:
        return [{"name": name} for name in GUESTS]
    used = select(Cluster.hypervisor).where(Cluster.zone_id == zoneid.id, Cluster.removed.is_(None)).distinct()
    return [{"name": name} for name in ctx.session.scalars(used.order_by(Cluster.hypervisor))]


@command("listHypervisorCapabilities", roles=ROOT, key="hypervisorCapabilities", reads=True)
def list_capabilities(ctx: Context, id: str | None = None, hypervisor: str | None = None) -> list[dict[str, Any]]:
    """List what hypervisors can do.

    id: this entry alone
    hypervisor: those of this hypervisor
    """
    found = [_capabilities(name) for name in GUESTS if hypervisor is None or name.lower() == hypervisor.lower()]
    return [entry for entry in found if id in (None, entry["id"])]


def _capabilities(name: str) -> dict[str, Any]:
    return {
        "id": str(uuid5(NAMESPACE_URL, f"hypervisor-capabilities/{name}")),
        "hypervisor": name,
        "hypervisorversion": "default",
        "maxguestslimit": GUESTS[name],
        "maxdatavolumeslimit": 6,
        "securitygroupenabled": False,
        "storagemotionenabled": False,
        "vmsnapshotenabled": False,
    }
