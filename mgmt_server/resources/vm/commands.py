"""Machines: deploying them. What lists, changes, starts, stops and destroys them stands beside this."""

from __future__ import annotations

from typing import Annotated

from mgmt_server.allocation import planners
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.userdata import UserData
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.affinity import members as affinity
from mgmt_server.resources.checks import LABEL, one_of
from mgmt_server.resources.nic import dhcp
from mgmt_server.resources.template import appliance
from mgmt_server.resources.userdata.rules import Given
from mgmt_server.resources.vm import (  # noqa: F401  the folder's commands
    assign,
    first,
    flows,
    leases,
    lifecycle,
    listing,
    parts,
    resets,
    restore,
    scale,
    tuning,
    updating,
)
from mgmt_server.resources.vm.asking import (
    firmware,
    mac_of,
    networks_asked,
    root_of_snapshot,
    root_of_volume,
)
from mgmt_server.resources.vm.deploy import Request, add_machine, bad_name, networks_for, own_uuid
from mgmt_server.resources.vm.details import given
from mgmt_server.resources.vm.firstdisks import Disk, wished
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.placing import PLANNER, Options
from mgmt_server.resources.vm.views import vm_view

Text = Annotated[str, Length(1_048_576)]
Extra = Annotated[str, Length(5120)]


@command(
    "deployVirtualMachine",
    roles=EVERYONE,
    answers=vm_view,
    event="VM.CREATE",
    unsupported=(
        "externaldetails", "ip6address", "properties", "securitygroupids", "securitygroupnames",
    ),
)  # fmt: skip
def deploy(
    ctx: Context,
    serviceofferingid: Use[ServiceOffering],
    zoneid: Use[Zone],
    templateid: Use[Template] | None = None,
    volumeid: Operate[Volume] | None = None,
    snapshotid: Use[Snapshot] | None = None,
    name: str | None = None,
    displayname: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    networkids: list[Use[Network]] | None = None,
    iptonetworklist: list[dict[str, str]] | None = None,
    ipaddress: str | None = None,
    macaddress: str | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    size: int | None = None,
    datadisksdetails: list[dict[str, str]] | None = None,
    datadiskofferinglist: list[dict[str, str]] | None = None,
    nicnetworklist: list[dict[str, str]] | None = None,
    overridediskofferingid: Use[DiskOffering] | None = None,
    rootdisksize: int | None = None,
    userdata: Text | None = None,
    userdataid: Use[UserData] | None = None,
    userdatadetails: dict[str, str] | None = None,
    keypair: str | None = None,
    keypairs: list[str] | None = None,
    password: str | None = None,
    group: str | None = None,
    affinitygroupids: list[Use[AffinityGroup]] | None = None,
    affinitygroupnames: list[str] | None = None,
    hypervisor: str | None = None,
    keyboard: str | None = None,
    details: dict[str, str] | None = None,
    startvm: bool = True,
    hostid: Use[Host] | None = None,
    clusterid: Use[Cluster] | None = None,
    podid: Use[Pod] | None = None,
    deploymentplanner: str | None = None,
    boottype: str | None = None,
    bootmode: str | None = None,
    bootintosetup: bool = False,
    displayvm: bool = True,
    dynamicscalingenabled: bool = True,
    copyimagetags: bool = False,
    customid: str | None = None,
    leaseduration: int | None = None,
    leaseexpiryaction: str | None = None,
    extraconfig: Extra | None = None,
    nicmultiqueuenumber: int | None = None,
    nicpackedvirtqueuesenabled: bool | None = None,
    iothreadsenabled: bool | None = None,
    iodriverpolicy: str | None = None,
    dhcpoptionsnetworklist: list[dict[str, str]] | None = None,
) -> Accepted:
    """Deploy a machine from a template, an ISO, a disk or a snapshot, and start it.

    serviceofferingid: what it gets: CPUs, memory, its root disk's kind
    zoneid: where it shall be
    templateid: the template or ISO that it starts from
    volumeid: a free disk that becomes its root disk, instead of a template
    snapshotid: a snapshot of a root disk that its root disk is made of, instead of a template
    name: its host name; letters, digits and hyphens
    displayname: what people call it
    account: whose it shall be; needs domainid
    domainid: the account's domain
    projectid: the project whose it shall be
    networkids: its networks, the default one first
    iptonetworklist: networks with addresses: iptonetworklist[0].networkid, .ip and .mac
    ipaddress: its address in the default network
    macaddress: its MAC address in the default network
    diskofferingid: adds a data disk; of a machine from an ISO it is the root disk's
    size: that disk's size in GiB, where its offering leaves it open
    datadisksdetails: several data disks: datadisksdetails[0].diskofferingid, .size, .deviceid, .miniops and .maxiops
    datadiskofferinglist: of its template's disks: datadiskofferinglist[0].datadisktemplateid and .diskofferingid
    nicnetworklist: networks of the NICs that its OVA describes, in their order: nicnetworklist[0].nic and .network
    overridediskofferingid: the root disk's offering, instead of the service offering's
    rootdisksize: the root disk's size in GiB, instead of the template's
    userdata: what the machine reads at its first start, base64
    userdataid: registered user data that it reads instead
    userdatadetails: values of the variables in its user data
    keypair: name of an SSH key pair
    keypairs: names of SSH key pairs
    password: its first password, where the template takes one
    group: a name to group machines by
    affinitygroupids: the affinity groups that it shall be in
    affinitygroupnames: the same by their names
    hypervisor: the template's; of a machine from an ISO, the one on which it shall run
    keyboard: layout of its console
    details: free key-value pairs; cpuNumber, cpuSpeed and memory where the offering leaves them open
    startvm: whether to start it at once
    hostid: on this host alone
    clusterid: in this cluster alone
    podid: in this pod alone
    deploymentplanner: which planner places it, instead of its offering's
    boottype: BIOS or UEFI
    bootmode: LEGACY, or SECURE with UEFI
    bootintosetup: not supported; false is accepted
    displayvm: whether users see it
    dynamicscalingenabled: whether it may be scaled while it runs, where zone, template and offering let it
    copyimagetags: whether it gets the tags of its template
    customid: its uuid
    leaseduration: after how many days its lease ends, instead of its offering's; -1 for no lease
    leaseexpiryaction: what is done then: STOP or DESTROY
    extraconfig: pieces of libvirt's XML, URL-encoded, with blank lines between; where settings let it
    nicmultiqueuenumber: queues of each NIC; -1 for as many as CPUs
    nicpackedvirtqueuesenabled: whether its NICs have packed queues
    iothreadsenabled: whether its disks are served by a thread of their own
    dhcpoptionsnetworklist: what DHCP tells it besides the usual: dhcpoptionsnetworklist[0].networkid and .dhcp:66
    iodriverpolicy: how its disks are read and written: native, threads, io_uring or storage_specific
    """
    if name is not None and (not LABEL.fullmatch(name) or name.isdecimal()):
        raise bad_name(name)
    whose = owner(ctx, account, domainid, projectid)
    source = _source(ctx, templateid, volumeid, snapshotid, zoneid, whose)
    if nicnetworklist and (networkids or iptonetworklist):
        raise InvalidValue("nicnetworklist excludes networkids and iptonetworklist: send one of them")
    if nicnetworklist:
        asked = parts.networks_of(ctx, source, nicnetworklist)
    else:
        asked = networks_asked(ctx, networkids, iptonetworklist)
    if not asked.networks:
        asked.networks = networks_for(ctx, zoneid, whose)
    if ipaddress:
        asked.addresses[asked.networks[0].id] = ipaddress
    if macaddress:
        asked.macs[asked.networks[0].id] = mac_of("macaddress", macaddress)
    disks = wished(ctx, datadisksdetails)
    if diskofferingid is not None and disks:
        raise InvalidValue("diskofferingid and datadisksdetails exclude each other: send one of them")
    root, root_size = overridediskofferingid, rootdisksize
    if source.format == "ISO" and volumeid is None and snapshotid is None:
        root, root_size = overridediskofferingid or diskofferingid, rootdisksize or size
    elif diskofferingid is not None:
        disks = [Disk(diskofferingid, size)]
    elif size is not None:
        raise InvalidValue("size is that of a data disk: send diskofferingid with it, or rootdisksize instead")
    if (source.appliance and templateid is not None) or datadiskofferinglist:
        disks = parts.disks_of(ctx, source, zoneid, datadiskofferinglist) + disks
    boot_type, boot_mode = firmware(boottype, bootmode, bootintosetup)
    more = tuning.asked(nicmultiqueuenumber, nicpackedvirtqueuesenabled, iothreadsenabled, iodriverpolicy)
    more |= {"keyboard": keyboard.lower()} if keyboard else {}
    own = {PLANNER: one_of("deploymentplanner", deploymentplanner, planners.names())} if deploymentplanner else {}
    wanted = Request(
        zone=zoneid,
        offering=serviceofferingid,
        template=source,
        owner=whose,
        networks=asked.networks,
        name=name,
        display_name=displayname,
        addresses=asked.addresses,
        macs=asked.macs,
        root_disk=root,
        root_size=root_size,
        existing=volumeid,
        snapshot=snapshotid,
        disks=disks,
        user_data=Given(userdata, userdataid, userdatadetails or {}),
        keys=list(dict.fromkeys([*([keypair] if keypair else []), *(keypairs or [])])),
        password=password,
        group=group,
        hypervisor=hypervisor,
        details=given(ctx, {**(details or {}), **more}) | own,
        display=displayvm,
        uuid=own_uuid(ctx, customid),
        dynamic=dynamicscalingenabled,
        boot_type=boot_type,
        boot_mode=boot_mode,
        affinity=affinity.chosen(ctx.session, whose, affinitygroupids, affinitygroupnames),
        copies_tags=copyimagetags,
        extra=extraconfig,
        dhcp_options=dhcp.of_networks(ctx.session, asked.networks, dhcpoptionsnetworklist),
        lease=leases.first(leaseduration, leaseexpiryaction, serviceofferingid.details),
    )
    vm = add_machine(ctx, wanted)
    ctx.describe(f"deploying machine {vm.display_name}")
    options = Options(
        host_id=hostid and hostid.id, cluster_id=clusterid and clusterid.id, pod_id=podid and podid.id, first=True
    )
    told = ["password"] if vm.password else []
    if snapshotid is not None:
        return ctx.start(first.from_snapshot, vm, options, to_implement(ctx.session, asked.networks), told, startvm)
    if not startvm:
        return ctx.start(flows.leave, vm)
    return ctx.start(flows.start, vm, options, to_implement(ctx.session, asked.networks), told)


def _source(
    ctx: Context,
    template: Template | None,
    volume: Volume | None,
    snapshot: Snapshot | None,
    zone: Zone,
    whose: Account,
) -> Template:
    """The template or ISO that the machine is of, whatever its root disk is made from."""
    if sum(given is not None for given in (template, volume, snapshot)) != 1:
        raise InvalidValue("Send one of templateid, volumeid and snapshotid: what the machine starts from")
    if template is not None:
        return appliance.alone(template, "deployed")
    if volume is not None:
        return root_of_volume(ctx.session, volume, zone, whose)
    if snapshot is not None:
        return root_of_snapshot(ctx.session, snapshot, zone, whose)
    raise AssertionError("unreachable")
