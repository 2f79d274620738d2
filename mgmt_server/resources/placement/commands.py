"""Where machines go, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mgmt_server.allocation import implicit, planners, pools
from mgmt_server.allocation.counted import host_tags
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.parameters import Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.placement.explain import Asked, explained
from mgmt_server.resources.template import appliance
from mgmt_server.resources.vm import placing
from mgmt_server.resources.vm.firstdisks import Disk, Root, check_open, root_size
from mgmt_server.resources.vm.parts import disks_of


@command("listDeploymentPlanners", roles=ROOT, key="", reads=True)
def list_planners(ctx: Context) -> dict[str, Any]:
    """List the planners that offerings may name."""
    return page_of_objects(ctx, "deploymentPlanner", [{"name": name} for name in planners.names()])


@command("explainDeployment", roles=ROOT, own=True, reads=True, key="deployment")
def explain(
    ctx: Context,
    virtualmachineid: Use[Vm] | None = None,
    zoneid: Use[Zone] | None = None,
    serviceofferingid: Use[ServiceOffering] | None = None,
    templateid: Use[Template] | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    cpunumber: int | None = None,
    cpuspeed: int | None = None,
    memory: int | None = None,
    size: int | None = None,
    rootdisksize: int | None = None,
    datadiskofferinglist: list[dict[str, str]] | None = None,
    hostid: Use[Host] | None = None,
    clusterid: Use[Cluster] | None = None,
    podid: Use[Pod] | None = None,
    deploymentplanner: str | None = None,
) -> dict[str, Any]:
    """Tell for every host and pool whether a machine could start there now, or which rule and number forbid it.

    virtualmachineid: a machine that is there; instead of what follows up to memory
    zoneid: where a new one would be
    serviceofferingid: what it would get
    templateid: what it would start from
    diskofferingid: of a data disk that it would have
    cpunumber: its CPUs, where the offering leaves them open
    cpuspeed: their MHz, likewise
    memory: its MiB, likewise
    size: the data disk's GiB, where its offering leaves them open
    rootdisksize: the root disk's GiB, where the service offering leaves them open
    datadiskofferinglist: of its template's disks: datadiskofferinglist[0].datadisktemplateid and .diskofferingid
    hostid: as if this host had been asked for
    clusterid: likewise this cluster
    podid: likewise this pod
    deploymentplanner: as if this planner had been asked for
    """
    options = placing.Options(
        host_id=hostid and hostid.id, cluster_id=clusterid and clusterid.id, pod_id=podid and podid.id,
        planner=deploymentplanner or "",
    )  # fmt: skip
    if virtualmachineid is not None:
        wanted = placing.wants(ctx.session, placing.parts_of(ctx.session, virtualmachineid.id), options)
        closed = tuple(p for p in wanted.known.values() if p.state in pools.IN_MAINTENANCE)
        return explained(ctx.session, Asked(wanted.need, list(wanted.spaces.values()), wanted.usable, closed))
    if zoneid is None or serviceofferingid is None or templateid is None:
        raise InvalidValue("send virtualmachineid, or zoneid with serviceofferingid and templateid")
    need = _need(ctx, zoneid, serviceofferingid, templateid, options, (cpunumber, cpuspeed, memory))
    disks = disks_of(ctx, appliance.alone(templateid, "deployed"), zoneid, datadiskofferinglist)
    disks += [Disk(diskofferingid, size)] if diskofferingid is not None else []
    spaces = _spaces(ctx, Root(templateid, serviceofferingid, size=rootdisksize), disks)
    return explained(ctx.session, Asked(need, spaces, pools.usable(ctx.session, zoneid.id, ctx.caller.account_id)))


def _need(
    ctx: Context,
    zone: Zone,
    offering: ServiceOffering,
    template: Template,
    options: placing.Options,
    chosen: tuple[int | None, int | None, int | None],
) -> Need:
    figures = {}
    for name, fixed, sent in zip(
        ("cpunumber", "cpuspeed", "memory"), (offering.cpus, offering.speed, offering.memory), chosen, strict=True
    ):
        figures[name] = fixed if fixed is not None else sent
        if figures[name] is None:
            raise InvalidValue(f"The offering {offering.name} leaves {name} open: send it")
    planner = options.planner or offering.deployment_planner or ""
    cpus, speed, memory = (int(v or 0) for v in figures.values())
    return Need(
        zone_id=zone.id, hypervisor=template.hypervisor, cpu=cpus * speed, memory=memory * 2**20,
        pod_id=options.pod_id, cluster_id=options.cluster_id, host_id=options.host_id,
        tags=host_tags(offering, template), named=options.host_id is not None, arch=template.arch or "",
        account_id=ctx.caller.account_id, planner=planner,
        implicit=implicit.mode_of(offering, planner), disabled=placing.on_disabled("User", ctx.caller.is_root),
    )  # fmt: skip


def _spaces(ctx: Context, root: Root, disks: Sequence[Disk]) -> list[Space]:
    check_open(root)
    mine, account = ctx.session.get_one(DiskOffering, root.disk_offering_id), ctx.caller.account_id
    found = [placing.space(root_size(root), mine, account)]
    return found + [placing.space(disk.bytes, disk.offering, account) for disk in disks]
