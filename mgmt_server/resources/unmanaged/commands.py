"""Machines that hosts have and this cloud does not know: listed, taken over, let go."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Use
from mgmt_server.db import write
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster
from mgmt_server.protocol.machine import Unmanaged
from mgmt_server.resources.checks import LABEL, hold_names, pairs
from mgmt_server.resources.checks import address as checked_address
from mgmt_server.resources.storage.rows import ref
from mgmt_server.resources.unmanaged import disks as of_disks  # noqa: F401  the folder's other command
from mgmt_server.resources.unmanaged import fitting, flows
from mgmt_server.resources.unmanaged import leaving as letting_go  # noqa: F401  the folder's other command
from mgmt_server.resources.unmanaged.adopting import Adoption, adopt
from mgmt_server.resources.unmanaged.seeing import found_on, shown
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm.networks import unready_of
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


@command("importUnmanagedInstance", roles=ROOT, answers=vm_view, event="VM.IMPORT", outside=True)
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
    migrateallowed: bool = False,
) -> Accepted:
    """Take over a machine of a host, with its disks where they are and its MACs.

    One that runs goes on, and keeps the name that its host gives it.

    clusterid: the cluster of its host
    name: what its host calls it
    serviceofferingid: what it gets when it starts; one that runs has that size already
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
    migrateallowed: whether disks and a machine that are not where their offerings want them are moved
    """
    host, machine = _the_one(found_on(ctx.session, clusterid, name), name, clusterid)
    host_name = hostname or (machine.name if LABEL.fullmatch(machine.name) else "")
    if not LABEL.fullmatch(host_name) or host_name.isdecimal():
        raise InvalidValue("hostname is missing: letters, digits and hyphens, as guests have them")
    root = ctx.session.get_one(DiskOffering, serviceofferingid.disk_offering_id)
    found = pairs("datadiskofferinglist", datadiskofferinglist, "disk", "diskoffering")
    disks = {k: _row(ctx, DiskOffering, "datadiskofferinglist", v) for k, v in found.items()}
    found = pairs("nicnetworklist", nicnetworklist, "nic", "network")
    networks = {k.lower(): _row(ctx, Network, "nicnetworklist", v) for k, v in found.items()}
    found = pairs("nicipaddresslist", nicipaddresslist, "nic", "ip4address")
    wanted = {k.lower(): str(checked_address("ip4Address", v)) for k, v in found.items() if v.lower() != "auto"}

    given = rules.given(ctx, details)

    def take(tx: Session) -> Accepted:
        ctx.session = tx
        hold_names(ctx)  # of two that import the same one, the second finds its disks taken
        whose: Account = owner(ctx, account, domainid, projectid)
        vm = adopt(
            tx,
            Adoption(
                host, machine, whose, ctx.caller.user_id, serviceofferingid, root, templateid, host_name,
                displayname or host_name, given, disks, networks, wanted, forced, migrateallowed,
            ),
        )  # fmt: skip
        ctx.describe(f"taking over {machine.name} of {host.name} as {spoken(vm)}")
        leaves = vm.state == "Running" and bool(fitting.misfit_of(host, serviceofferingid))
        places = fitting.places_for(tx, vm, host, stays=vm.state == "Running" and not leaves)
        if vm.state == "Running":
            return ctx.start(flows.adopt_running, vm, unready_of(tx, vm), places, leaves)
        return ctx.start(flows.import_machine, vm, ref(host), machine.name, places)

    return write(take)


def _the_one(found: list[tuple[Host, Unmanaged]], name: str, cluster: Cluster) -> tuple[Host, Unmanaged]:
    if not found:
        raise InvalidValue(f"No host of the cluster {cluster.name} has an unmanaged machine {name[:100]}")
    if len(found) > 1:
        places = ", ".join(h.name for h, _ in found)
        raise InvalidValue(f"Several hosts have a machine {name[:100]}: {places}. Remove it from all but one")
    host, machine = found[0]
    if machine.state not in ("Running", "Stopped"):
        raise InvalidValue(f"{machine.name} is {machine.state} on {host.name}: let it run, or shut it down first")
    return host, machine


def _row(ctx: Context, table: Any, parameter: str, uuid: str) -> Any:
    rows = select(table).where(table.uuid == uuid, table.removed.is_(None), table.usable_by(ctx.caller))
    found = ctx.session.scalar(rows)
    if found is None:
        raise InvalidValue(f"{parameter} names something that there is not: {uuid[:100]}")
    return found
