"""Hypervisors that this cloud can use, and what they can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select

from mgmt_server.allocation.hypervisors import Limits, forget, limits_of
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of
from mgmt_server.api.parameters import Use, no_entity
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import MOST_MACHINES as GUESTS
from mgmt_server.model.host import HypervisorLimits
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.checks import hold_names
from mgmt_server.resources.offering.rules import between


@command("listHypervisors", roles=EVERYONE, key="hypervisor", reads=True)
def list_hypervisors(ctx: Context, zoneid: Use[Zone] | None = None) -> list[dict[str, Any]]:
    """List hypervisors.

    zoneid: those that clusters of this zone have
    """
    if zoneid is None:
        return [{"name": name} for name in GUESTS]
    used = select(Cluster.hypervisor).where(Cluster.zone_id == zoneid.id, Cluster.removed.is_(None)).distinct()
    return [{"name": name} for name in ctx.session.scalars(used.order_by(Cluster.hypervisor))]


@command("listHypervisorCapabilities", roles=ROOT, key="", reads=True)
def list_capabilities(ctx: Context, id: str | None = None, hypervisor: str | None = None) -> dict[str, Any]:
    """List what hypervisors can do.

    id: this entry alone
    hypervisor: those of this hypervisor
    """
    found = [name for name in GUESTS if hypervisor is None or name.lower() == hypervisor.lower()]
    text = ctx.sent.get("keyword", "").lower()
    told = [_capabilities(name, limits_of(name)) for name in found if text in name.lower() and id in (None, _id(name))]
    number, size = page_of(ctx.sent)
    page = told if size < 0 else told[(max(number, 1) - 1) * size : max(number, 1) * size]
    return ({"count": len(told)} | ({"hypervisorCapabilities": page} if page else {})) if told else {}


@command(
    "updateHypervisorCapabilities",
    roles=ROOT,
    key="hypervisorcapabilities",
    unsupported=("securitygroupenabled",),
)
def update_capabilities(
    ctx: Context,
    id: str | None = None,
    hypervisor: str | None = None,
    hypervisorversion: str | None = None,
    maxguestslimit: int | None = None,
    maxdatavolumeslimit: int | None = None,
    maxhostspercluster: int | None = None,
    storagemotionenabled: bool | None = None,
    vmsnapshotenabled: bool | None = None,
) -> dict[str, Any]:
    """Change how much a hypervisor bears, and what it does. What is there already stays.

    id: the entry
    hypervisor: its hypervisor, instead of its id
    hypervisorversion: default, the only one; with hypervisor
    maxguestslimit: machines on one host
    maxdatavolumeslimit: data disks of one machine
    maxhostspercluster: hosts in one cluster
    storagemotionenabled: whether disks may move to other pools while their machine runs
    vmsnapshotenabled: whether machines may have snapshots
    """
    if (id is None) == (hypervisor is None):
        raise InvalidValue("send either id or hypervisor")
    if hypervisorversion not in (None, "default"):
        raise InvalidValue(f"hypervisorversion={hypervisorversion[:50]}: there is the version default alone")
    name = next((n for n in GUESTS if id == _id(n) or (hypervisor or "").lower() == n.lower()), None)
    if name is None:
        raise no_entity("id" if id else "hypervisor", id or hypervisor or "")
    before = limits_of(name)
    changed = {"machines": maxguestslimit, "data_disks": maxdatavolumeslimit, "hosts": maxhostspercluster}
    for parameter, value in zip(
        ("maxguestslimit", "maxdatavolumeslimit", "maxhostspercluster"), changed.values(), strict=True
    ):
        between(parameter, value, 1)
    switched = {"storage_motion": storagemotionenabled, "vm_snapshots": vmsnapshotenabled}
    after = replace(before, **{k: v for k, v in (changed | switched).items() if v is not None})
    _keep(ctx, name, after)
    ctx.describe(f"changing what {name} bears")
    return _capabilities(name, after)


def _keep(ctx: Context, name: str, limits: Limits) -> None:
    hold_names(ctx)
    row = ctx.session.scalar(select(HypervisorLimits).where(HypervisorLimits.hypervisor == name))
    if row is None:
        row = HypervisorLimits(hypervisor=name, machines=limits.machines, data_disks=limits.data_disks)
        ctx.session.add(row)
    row.machines, row.data_disks, row.hosts = limits.machines, limits.data_disks, limits.hosts
    row.storage_motion, row.vm_snapshots = limits.storage_motion, limits.vm_snapshots
    after_commit(forget)


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"hypervisor-capabilities/{name}"))


def _capabilities(name: str, limits: Limits) -> dict[str, Any]:
    told = {
        "id": _id(name),
        "hypervisor": name,
        "hypervisorversion": "default",
        "maxguestslimit": limits.machines,
        "maxdatavolumeslimit": limits.data_disks,
        "securitygroupenabled": False,
        "storagemotionenabled": limits.storage_motion,
        "vmsnapshotenabled": limits.vm_snapshots,
    }
    return told | ({"maxhostspercluster": limits.hosts} if limits.hosts is not None else {})
