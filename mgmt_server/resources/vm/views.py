"""Machines as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, many, only, shown
from mgmt_server.model.account import User
from mgmt_server.model.host import Host
from mgmt_server.model.network import Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.userdata import InstanceGroup
from mgmt_server.model.vm import Vm, Volume, instance_name
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import nic_view, owner_fields, owner_joins, pending_job

Iso = aliased(Template, name="iso")
Root = aliased(Volume, name="root")
RootPool = aliased(Pool, name="root_pool")


def _details(details: dict[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in details.items() if k != "boot_arguments"}


def _statistic(name: str) -> Any:
    return shown(lambda found: found.get(name), Vm.statistics)


def _percent(found: dict[str, Any]) -> str | None:
    return f"{found['cpu_used']:.2f}%" if "cpu_used" in found else None


def _default_address() -> Any:
    rows = select(Nic.address).where(Nic.vm_id == Vm.id, Nic.is_default, Nic.removed.is_(None))
    return rows.correlate(Vm.__table__).limit(1).scalar_subquery()


vm_view = View(
    "virtualmachine",
    Vm,
    response="UserVmResponse",
    keyword=(Vm.name, Vm.display_name),
    tagged="UserVm",
    joins=(
        (User, User.id == Vm.user_id),
        (Zone, Zone.id == Vm.zone_id),
        (Host, Host.id == Vm.host_id),
        (Template, Template.id == Vm.template_id),
        (Iso, Iso.id == Vm.iso_id),
        (OsType, OsType.id == Vm.os_type_id),
        (ServiceOffering, ServiceOffering.id == Vm.service_offering_id),
        (InstanceGroup, InstanceGroup.id == Vm.group_id),
        (Root, (Root.vm_id == Vm.id) & (Root.slot == 0)),
        (RootPool, RootPool.id == Root.pool_id),
        *owner_joins(Vm),
    ),
    id=Vm.uuid,
    name=Vm.name,
    displayname=shown(lambda shown_name, name: shown_name or name, Vm.display_name, Vm.name),
    userid=User.uuid,
    username=User.username,
    created=Vm.created,
    lastupdated=Vm.state_changed,
    state=Vm.state,
    haenable=Vm.ha_enabled,
    groupid=InstanceGroup.uuid,
    group=InstanceGroup.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    hostid=only(ADMIN, Host.uuid),
    hostname=only(ADMIN, Host.name),
    hostcontrolstate=only(ADMIN, Host.resource_state),
    templateid=Template.uuid,
    templatename=Template.name,
    templatetype=Template.type,
    templateformat=Template.format,
    templatedisplaytext=Template.display_text,
    passwordenabled=shown(lambda enabled: bool(enabled), Template.password_enabled),
    isoid=Iso.uuid,
    isoname=Iso.name,
    isodisplaytext=Iso.display_text,
    serviceofferingid=ServiceOffering.uuid,
    serviceofferingname=ServiceOffering.name,
    cpunumber=Vm.cpus,
    cpuspeed=Vm.speed,
    memory=Vm.memory,
    cpuused=shown(_percent, Vm.statistics),
    networkkbsread=_statistic("network_read"),
    networkkbswrite=_statistic("network_written"),
    diskkbsread=_statistic("disk_read"),
    diskkbswrite=_statistic("disk_written"),
    diskioread=_statistic("disk_reads"),
    diskiowrite=_statistic("disk_writes"),
    memorykbs=_statistic("memory"),
    memoryintfreekbs=_statistic("memory_free"),
    guestosid=OsType.uuid,
    ostypeid=OsType.uuid,
    osdisplayname=OsType.name,
    rootdeviceid=always(0),
    rootdevicetype=always("ROOT"),
    securitygroup=always([]),
    affinitygroup=always([]),
    nic=many(nic_view, Nic.vm_id),
    ipaddress=_default_address(),
    hypervisor=Vm.hypervisor,
    instancename=only(ADMIN, shown(instance_name, Vm.kind, Vm.account_id, Vm.id)),
    details=shown(_details, Vm.details),
    displayvm=only(ADMIN, Vm.display),
    isdynamicallyscalable=Vm.dynamically_scalable,
    deleteprotection=Vm.delete_protection,
    pooltype=RootPool.type,
    keypairs=Vm.key_pairs,
    userdata=shown(lambda _: None, Vm.id),
    boottype=Vm.boot_type,
    bootmode=Vm.boot_mode,
    arch=Template.arch,
    receivedbytes=always(0),
    sentbytes=always(0),
    vmtype=shown(lambda kind: kind, Vm.kind),
    hasannotations=has_annotations("VM", Vm.uuid),
    jobid=pending_job(Vm),
    **owner_fields(),
)
