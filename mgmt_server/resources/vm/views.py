"""Machines as clients see them."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, many, only, shown
from mgmt_server.model.account import User
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.network import Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.userdata import InstanceGroup, UserData
from mgmt_server.model.vm import Vm, Volume, instance_name
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import nic_view, owner_fields, owner_joins, pending_job
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm import leases

Iso = aliased(Template, name="iso")
Root = aliased(Volume, name="root")
RootPool = aliased(Pool, name="root_pool")


# of machines' statistics, those that only grow while a machine runs: the field of the answer
COUNTED = {
    "network_read": "networkkbsread",
    "network_written": "networkkbswrite",
    "disk_read": "diskkbsread",
    "disk_written": "diskkbswrite",
    "disk_reads": "diskioread",
    "disk_writes": "diskiowrite",
}
RECENT = "recent"  # among the statistics: how much each of these grew between the last two readings


def measured(found: dict[str, Any] | None, state: str) -> dict[str, Any]:
    """The statistics of a machine that runs: those of one that has stopped say nothing about it any more."""
    return (found or {}) if state in ("Running", "Migrating", "Stopping") else {}


def _statistic(name: str) -> Any:
    return shown(lambda found, state: measured(found, state).get(name) if found else None, Vm.statistics, Vm.state)


def _recently(name: str) -> Any:
    def since(found: dict[str, Any] | None, state: str) -> Any:
        return measured(found, state).get(RECENT, {}).get(name) if found else None

    return shown(since, Vm.statistics, Vm.state)


def _percent(found: dict[str, Any] | None, state: str) -> str | None:
    used = measured(found, state).get("cpu_used")
    return None if used is None else f"{round(used, 2):g}%"


def _default_address() -> Any:
    rows = select(Nic.address).where(Nic.vm_id == Vm.id, Nic.is_default, Nic.removed.is_(None))
    return rows.correlate(Vm.__table__).limit(1).scalar_subquery()


def _values(values: dict[str, Any]) -> str | None:
    return ",".join(f"{k}={v}" for k, v in sorted(values.items())) if values else None


def _instance(called: str | None, kind: str, account_id: int, number: int) -> str:
    return called or instance_name(kind, account_id, number)


def _leased(value: Any) -> Any:
    return value if value is not None and leases.ENABLED.flag() else None


BETWEEN, AFTER = "\x1f", "\x1e"  # no text of ours holds control characters


def _affinity() -> Any:
    """The machine's affinity groups as one text: in the machine's own statement, for most are in none."""
    told = AffinityGroup.uuid + BETWEEN + AffinityGroup.type + BETWEEN + AffinityGroup.name + AFTER
    rows = select(func.group_concat(told)).join(AffinityMember, AffinityMember.group_id == AffinityGroup.id)
    return rows.where(AffinityMember.vm_id == Vm.id).correlate(Vm.__table__).scalar_subquery()


def _groups(told: str | None) -> list[dict[str, str]]:
    if not told:
        return []
    found = [one.removeprefix(",").split(BETWEEN) for one in told.split(AFTER) if one]
    return sorted(({"id": u, "name": n, "type": t} for u, t, n in found), key=lambda group: group["name"])


whole_view = View(
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
        (UserData, UserData.id == Vm.user_data_id),
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
    cpuused=shown(_percent, Vm.statistics, Vm.state),
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
    affinitygroup=shown(_groups, _affinity()),
    nic=many(nic_view, Nic.vm_id),
    ipaddress=_default_address(),
    hypervisor=Vm.hypervisor,
    instancename=only(ADMIN, shown(_instance, Vm.called, Vm.kind, Vm.account_id, Vm.id)),
    details=only(ADMIN, shown(rules.shown, Vm.details), others=shown(rules.shown_to_users, Vm.details)),
    displayvm=only(ADMIN, Vm.display),
    isdynamicallyscalable=Vm.dynamically_scalable,
    deleteprotection=Vm.delete_protection,
    pooltype=RootPool.type,
    leaseduration=shown(_leased, Vm.lease_days),
    leaseexpirydate=shown(_leased, Vm.lease_expires),
    leaseexpiryaction=shown(_leased, Vm.lease_action),
    keypairs=Vm.key_pairs,
    userdata=Vm.user_data,
    userdataid=UserData.uuid,
    userdataname=UserData.name,
    userdatapolicy=Template.user_data_policy,
    userdatadetails=shown(_values, Vm.user_data_details),
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

# what `details` of listVirtualMachines names; fields in no part are always there
PARTS: dict[str, tuple[str, ...]] = {
    "group": ("groupid", "group"),
    "nics": ("nic",),
    "stats": (
        "cpuused", "networkkbsread", "networkkbswrite", "diskkbsread", "diskkbswrite", "diskioread", "diskiowrite",
        "memorykbs", "memoryintfreekbs",
    ),
    "secgrp": ("securitygroup",),
    "tmpl": ("templateid", "templatename", "templatedisplaytext", "templatetype", "templateformat", "passwordenabled"),
    "servoff": ("serviceofferingid", "serviceofferingname", "cpunumber", "cpuspeed", "memory"),
    "diskoff": ("diskofferingid", "diskofferingname"),
    "backoff": ("backupofferingid", "backupofferingname"),
    "iso": ("isoid", "isoname", "isodisplaytext"),
    "volume": ("rootdeviceid", "rootdevicetype", "pooltype"),
    "affgrp": ("affinitygroup",),
    "vnfnics": ("vnfnics",),
}  # fmt: skip


@cache
def vm_view_of(parts: frozenset[str], user_data: bool = False, total: bool = True) -> View:
    """Machines with these parts, and with what they read at their start. `total`: statistics since that start."""
    whole = whole_view if total else whole_view.extended(**{field: _recently(n) for n, field in COUNTED.items()})
    gone = {name for part, names in PARTS.items() if part not in parts for name in names}
    return whole.without(*gone, *(() if user_data else ("userdata",)))


vm_view = vm_view_of(frozenset(PARTS))
