"""Machines that hosts have and this cloud does not know: listed, taken over, let go."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import write
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster
from mgmt_server.protocol.machine import Unmanaged
from mgmt_server.resources.checks import LABEL, hold_names
from mgmt_server.resources.checks import address as checked_address
from mgmt_server.resources.storage.rows import ref
from mgmt_server.resources.unmanaged import flows
from mgmt_server.resources.unmanaged.adopting import Adoption, adopt
from mgmt_server.resources.unmanaged.seeing import found_on, shown
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.views import vm_view


@command("listUnmanagedInstances", roles=ROOT, key="", outside=True)
def list_unmanaged(ctx: Context, clusterid: Use[Cluster], name: str | None = None) -> dict[str, Any]:
    """List the machines of a cluster's hosts that this cloud does not know.

    clusterid: the cluster
    name: the one that its host calls so
    """
    found = found_on(ctx.session, clusterid, name)
    objects = [shown(ctx.session, clusterid, host, machine) for host, machine in found]
    return page_of_objects(ctx, "unmanagedinstance", objects)


@command(
    "importUnmanagedInstance",
    roles=ROOT,
    answers=vm_view,
    event="VM.IMPORT",
    outside=True,
    unsupported=("migrateallowed",),
)
def import_unmanaged(
    ctx: Context,
    clusterid: Use[Cluster],
    name: str,
    serviceofferingid: Use[ServiceOffering],
    templateid: Use[Template] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    displayname: str | None = None,
    hostname: str | None = None,
    datadiskofferinglist: list[dict[str, str]] | None = None,
    nicnetworklist: list[dict[str, str]] | None = None,
    nicipaddresslist: list[dict[str, str]] | None = None,
    details: dict[str, str] | None = None,
    forced: bool = False,
) -> Accepted:
    """Take over a stopped machine of a host, with its disks where they are and its MACs.

    clusterid: the cluster of its host
    name: what its host calls it
    serviceofferingid: what it gets when it starts
    templateid: the template that it is said to be from
    account: whose it shall be; needs domainid
    domainid: the account's domain
    projectid: the project whose it shall be
    displayname: what people call it
    hostname: its host name; letters, digits and hyphens
    datadiskofferinglist: offerings of its data disks: datadiskofferinglist[0].disk and .diskOffering
    nicnetworklist: networks of its NICs: nicnetworklist[0].nic and .network
    nicipaddresslist: addresses of its NICs: nicipaddresslist[0].nic and .ip4Address; auto for one that is free
    details: free key-value pairs; cpuNumber, cpuSpeed and memory where the offering leaves them open
    forced: whether a MAC that another NIC has is replaced
    """
    host, machine = _the_one(found_on(ctx.session, clusterid, name), name, clusterid)
    host_name = hostname or (machine.name if LABEL.fullmatch(machine.name) else "")
    if not LABEL.fullmatch(host_name) or host_name.isdecimal():
        raise InvalidValue("hostname is missing: letters, digits and hyphens, as guests have them")
    root = ctx.session.get_one(DiskOffering, serviceofferingid.disk_offering_id)
    pairs = _pairs("datadiskofferinglist", datadiskofferinglist, "disk", "diskoffering")
    disks = {k: _row(ctx, DiskOffering, "datadiskofferinglist", v) for k, v in pairs.items()}
    pairs = _pairs("nicnetworklist", nicnetworklist, "nic", "network")
    networks = {k.lower(): _row(ctx, Network, "nicnetworklist", v) for k, v in pairs.items()}
    pairs = _pairs("nicipaddresslist", nicipaddresslist, "nic", "ip4address")
    wanted = {k.lower(): str(checked_address("ip4Address", v)) for k, v in pairs.items() if v.lower() != "auto"}

    def take(tx: Session) -> Accepted:
        ctx.session = tx
        hold_names(ctx)  # of two that import the same one, the second finds its disks taken
        whose: Account = owner(ctx, account, domainid, projectid)
        vm = adopt(
            tx,
            Adoption(
                host, machine, whose, ctx.caller.user_id, serviceofferingid, root, templateid, host_name,
                displayname or host_name, dict(details or {}), disks, networks, wanted, forced,
            ),
        )  # fmt: skip
        ctx.describe(f"taking over {machine.name} of {host.name} as {spoken(vm)}")
        return ctx.start(flows.import_machine, vm, ref(host), machine.name)

    return write(take)


def _the_one(found: list[tuple[Host, Unmanaged]], name: str, cluster: Cluster) -> tuple[Host, Unmanaged]:
    if not found:
        raise InvalidValue(f"No host of the cluster {cluster.name} has an unmanaged machine {name[:100]}")
    if len(found) > 1:
        places = ", ".join(h.name for h, _ in found)
        raise InvalidValue(f"Several hosts have a machine {name[:100]}: {places}. Remove it from all but one")
    host, machine = found[0]
    if machine.state != "Stopped":
        raise InvalidValue(
            f"{machine.name} runs on {host.name}: shut it down first. It is called otherwise here, and a host can "
            "change the name of a stopped machine alone"
        )
    return host, machine


def _pairs(parameter: str, entries: list[dict[str, str]] | None, key: str, value: str) -> dict[str, str]:
    found = {}
    for entry in entries or []:
        lower = {k.lower(): v for k, v in entry.items()}
        if not lower.get(key) or not lower.get(value):
            raise InvalidValue(f"{parameter} is incomplete: each entry has {key} and {value}")
        found[lower[key]] = lower[value]
    return found


def _row(ctx: Context, table: Any, parameter: str, uuid: str) -> Any:
    rows = select(table).where(table.uuid == uuid, table.removed.is_(None), table.usable_by(ctx.caller))
    found = ctx.session.scalar(rows)
    if found is None:
        raise InvalidValue(f"{parameter} names something that there is not: {uuid[:100]}")
    return found


@command("unmanageVirtualMachine", roles=ROOT, event="VM.UNMANAGE", unsupported=("forced", "hostid"))
def unmanage(ctx: Context, id: Operate[Vm]) -> Accepted:
    """Let a machine go: this cloud forgets it, its host and its disks are left as they are.

    id: the machine, running or stopped
    """
    only_users(id)
    flows.check_leaves(ctx.session, id)
    if id.delete_protection:
        raise InvalidValue(f"{spoken(id)} is protected: switch deleteprotection off first")
    ctx.describe(f"letting {spoken(id)} go")
    return ctx.start(flows.let_go, id)
