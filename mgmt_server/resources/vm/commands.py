"""Machines: deploying, listing and changing them. What starts, stops and destroys them is in lifecycle.py."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.api.projects import check_allowed
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Domain, Project
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.checks import LABEL
from mgmt_server.resources.instancegroup.rows import group_named
from mgmt_server.resources.vm import flows, listing  # noqa: F401  its commands belong to this folder
from mgmt_server.resources.vm.deploy import Request, add_machine, bad_name, networks_for, user_data
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.vm.views import vm_view

Text = Annotated[str, Length(1_048_576)]


@command(
    "deployVirtualMachine",
    roles=EVERYONE,
    answers=vm_view,
    event="VM.CREATE",
    unsupported=(
        "affinitygroupids", "affinitygroupnames", "bootintosetup", "datadiskofferinglist", "datadisksdetails",
        "dhcpoptionsnetworklist", "externaldetails", "extraconfig", "iodriverpolicy", "iothreadsenabled", "ip6address",
        "leaseduration", "leaseexpiryaction", "macaddress", "nicmultiqueuenumber", "nicnetworklist",
        "nicpackedvirtqueuesenabled", "overridediskofferingid", "properties", "securitygroupids", "securitygroupnames",
        "snapshotid", "userdatadetails", "userdataid", "volumeid", "copyimagetags", "deploymentplanner",
    ),
)  # fmt: skip
def deploy(
    ctx: Context,
    serviceofferingid: Use[ServiceOffering],
    zoneid: Use[Zone],
    templateid: Use[Template] | None = None,
    name: str | None = None,
    displayname: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    networkids: list[Use[Network]] | None = None,
    iptonetworklist: list[dict[str, str]] | None = None,
    ipaddress: str | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    size: int | None = None,
    rootdisksize: int | None = None,
    userdata: Text | None = None,
    keypair: str | None = None,
    keypairs: list[str] | None = None,
    password: str | None = None,
    group: str | None = None,
    hypervisor: str | None = None,
    keyboard: str | None = None,
    details: dict[str, str] | None = None,
    startvm: bool = True,
    hostid: Use[Host] | None = None,
    clusterid: Use[Cluster] | None = None,
    podid: Use[Pod] | None = None,
    boottype: str | None = None,
    bootmode: str | None = None,
    displayvm: bool = True,
    dynamicscalingenabled: bool = False,
    customid: str | None = None,
) -> Accepted:
    """Deploy a machine from a template and start it.

    serviceofferingid: what it gets: CPUs, memory, its root disk's kind
    zoneid: where it shall be
    templateid: what it starts from
    name: its host name; letters, digits and hyphens
    displayname: what people call it
    account: whose it shall be; needs domainid
    domainid: the account's domain
    projectid: the project whose it shall be
    networkids: its networks, the default one first
    iptonetworklist: networks with addresses: iptonetworklist[0].networkid and .ip
    ipaddress: its address in the default network
    diskofferingid: adds a data disk
    size: the data disk's size in GiB, where its offering leaves it open
    rootdisksize: the root disk's size in GiB, instead of the template's
    userdata: what the machine reads at its first start, base64
    keypair: name of an SSH key pair
    keypairs: names of SSH key pairs
    password: its first password, where the template takes one
    group: a name to group machines by
    hypervisor: must be the template's
    keyboard: layout of its console
    details: free key-value pairs; cpuNumber, cpuSpeed and memory where the offering leaves them open
    startvm: whether to start it at once
    hostid: on this host alone
    clusterid: in this cluster alone
    podid: in this pod alone
    boottype: BIOS
    bootmode: LEGACY
    displayvm: whether users see it
    dynamicscalingenabled: whether it may be scaled while it runs
    customid: its uuid
    """
    if templateid is None:
        raise InvalidValue(
            "templateid is missing: deploying from volumes and snapshots is not supported in this version"
        )
    if name is not None and (not LABEL.fullmatch(name) or name.isdecimal()):
        raise bad_name(name)
    if (boottype or "BIOS").upper() != "BIOS" or (bootmode or "LEGACY").upper() != "LEGACY":
        raise InvalidValue("Only boottype BIOS with bootmode LEGACY is supported in this version")
    whose = owner(ctx, account, domainid, projectid)
    networks, addresses = _networks(ctx, networkids, iptonetworklist, ipaddress)
    if not networks:
        networks = networks_for(ctx, zoneid, whose)
        if ipaddress:
            addresses[networks[0].id] = ipaddress
    wanted = Request(
        zone=zoneid,
        offering=serviceofferingid,
        template=templateid,
        owner=whose,
        networks=networks,
        name=name,
        display_name=displayname,
        addresses=addresses,
        disk=diskofferingid,
        disk_size=size,
        root_size=rootdisksize,
        user_data=userdata,
        keys=list(dict.fromkeys([*([keypair] if keypair else []), *(keypairs or [])])),
        password=password,
        group=group,
        hypervisor=hypervisor,
        details={**(details or {}), **({"keyboard": keyboard} if keyboard else {})},
        display=displayvm,
        uuid=customid,
        dynamic=dynamicscalingenabled,
    )
    vm = add_machine(ctx, wanted)
    ctx.describe(f"deploying machine {vm.display_name}")
    options = Options(
        host_id=hostid and hostid.id, cluster_id=clusterid and clusterid.id, pod_id=podid and podid.id, first=True
    )
    if not startvm:
        return ctx.start(flows.leave, vm)
    told = ["password"] if vm.password else []
    return ctx.start(flows.start, vm, options, to_implement(ctx.session, networks), told)


def _networks(
    ctx: Context, ids: list[Network] | None, pairs: list[dict[str, str]] | None, address: str | None
) -> tuple[list[Network], dict[int, str]]:
    """The networks in order, and the addresses wished for in them."""
    if ids and pairs:
        raise InvalidValue("networkids and iptonetworklist exclude each other: send one of them")
    if not pairs:
        found = list(ids or [])
        return found, ({found[0].id: address} if found and address else {})
    networks, addresses = [], {}
    for pair in pairs:
        uuid = pair.get("networkid", "")
        row = ctx.session.scalar(
            select(Network).where(Network.uuid == uuid, Network.removed.is_(None), Network.usable_by(ctx.caller))
        )
        if row is None:
            raise InvalidValue(f"iptonetworklist names no network that can be used: networkid={uuid[:100]}")
        check_allowed(ctx, row)
        if pair.get("ipv6") or pair.get("mac"):
            raise InvalidValue("iptonetworklist: ipv6 and mac are not supported in this version")
        networks.append(row)
        if pair.get("ip"):
            addresses[row.id] = pair["ip"]
    return networks, addresses


@command(
    "updateVirtualMachine",
    roles=EVERYONE,
    answers=vm_view,
    event="VM.UPDATE",
    unsupported=(
        "customid", "dhcpoptionsnetworklist", "extraconfig", "instancename", "leaseduration", "leaseexpiryaction",
        "securitygroupids", "securitygroupnames", "userdatadetails", "userdataid",
    ),
)  # fmt: skip
def update(
    ctx: Context,
    id: Operate[Vm],
    name: str | None = None,
    displayname: str | None = None,
    group: str | None = None,
    haenable: bool | None = None,
    ostypeid: Use[OsType] | None = None,
    userdata: Text | None = None,
    details: dict[str, str] | None = None,
    cleanupdetails: bool = False,
    displayvm: bool | None = None,
    deleteprotection: bool | None = None,
    isdynamicallyscalable: bool | None = None,
) -> Vm:
    """Change a machine. What concerns its inside holds from its next start.

    id: the machine
    name: its host name; while it is stopped
    displayname: what people call it
    group: a name to group machines by
    haenable: whether it is started elsewhere when its host is lost
    ostypeid: its guest operating system
    userdata: what it reads at its start, base64
    details: free key-value pairs, instead of those that are there; while it is stopped
    cleanupdetails: whether to remove all details
    displayvm: whether users see it
    deleteprotection: whether it is protected from being destroyed
    isdynamicallyscalable: whether it may be scaled while it runs
    """
    only_users(id)
    if name is not None and name != id.name:
        if not LABEL.fullmatch(name) or name.isdecimal():
            raise bad_name(name)
        if id.state != "Stopped":
            raise InvalidValue(
                f"The machine {id.display_name} is {id.state}: stop it before giving it another host name"
            )
    if (details or cleanupdetails) and id.state != "Stopped":
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: stop it before changing its details")
    changes: dict[str, Any] = {
        "name": name,
        "display_name": displayname,
        "group_id": group_named(ctx, id.account_id, id.domain_id, group).id if group else None,
        "ha_enabled": haenable,
        "os_type_id": ostypeid and ostypeid.id,
        "user_data": user_data(userdata),
        "details": {} if cleanupdetails else details,
        "display": displayvm,
        "delete_protection": deleteprotection,
        "dynamically_scalable": isdynamicallyscalable,
    }
    for column, value in changes.items():
        if value is not None:
            setattr(id, column, value)
    ctx.describe(f"changing machine {id.display_name}")
    return id
