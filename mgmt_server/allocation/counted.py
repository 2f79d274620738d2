"""What counts against limits, and when: said here once, for the flows that make and free things and for the recount.

A machine counts from its deployment until it is destroyed or given up, stopped ones too unless the setting says
otherwise; its disks until they are gone. System VMs, routers and their disks do not count. A network counts for the
account that it belongs to, a public address for the account that has it, whether or not a router uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume

RUNNING_ONLY = Setting(
    "resource.count.running.vms.only",
    "Whether machines count against limits only while they run; what is counted follows at the next recount",
)
TENANTS = ("USER", "VNF")  # types of templates that count; the others come with the installation
STORED = (*TENANTS, "DATADISK")  # whose images count: a disk of an OVA takes room, and is no template more
GONE = ("Destroyed", "Error", "Expunging")  # a machine in one of these does not count any more
LEFT = ("Destroy", "Expunging", "Expunged")  # nor a disk in one of these
UNKEPT = ("Error", "Destroying", "Destroyed")  # nor a snapshot in one of these; its files do until they are gone


def words(tags: str | None) -> tuple[str, ...]:
    return tuple(t.strip() for t in (tags or "").split(",") if t.strip())


def host_tags(offering: ServiceOffering, template: Template | None) -> tuple[str, ...]:
    """The tags that a machine needs of its host."""
    return both_tags(offering.host_tag, template and template.tag)


def both_tags(of_offering: str | None, of_template: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*words(of_offering), *words(of_template))))


def machine_comes(tx: Session, vm: Vm) -> None:
    """A machine was deployed, or taken back after its destruction."""
    if not RUNNING_ONLY.flag():
        _machine(tx, vm, 1)


def machine_goes(tx: Session, vm: Vm) -> None:
    """A machine was destroyed or given up."""
    if not RUNNING_ONLY.flag():
        _machine(tx, vm, -1)


def machine_starts(tx: Session, vm: Vm) -> None:
    """A machine got a host."""
    if RUNNING_ONLY.flag():
        _machine(tx, vm, 1)


def machine_rests(tx: Session, vm: Vm) -> None:
    """A machine left its host."""
    if RUNNING_ONLY.flag():
        _machine(tx, vm, -1)


def _machine(tx: Session, vm: Vm, sign: int) -> None:
    if vm.kind != "User":
        return
    tags: tuple[str, ...] = ()
    if limits.HOST_TAGS.words():
        rows = select(ServiceOffering.host_tag, Template.tag).outerjoin(Template, Template.id == vm.template_id)
        tags = both_tags(*tx.execute(rows.where(ServiceOffering.id == vm.service_offering_id)).one())
    limits.take(tx, vm.account_id, tags=tags, user_vm=sign, cpu=sign * vm.cpus, memory=sign * vm.memory)


def volumes_come(tx: Session, volumes: Iterable[Volume]) -> None:
    """Disks of users, or of their machines, were made."""
    for volume in volumes:
        limits.take(tx, volume.account_id, tags=_storage_tags(tx, volume), volume=1, primary_storage=volume.size)


def volumes_go(tx: Session, volumes: Iterable[Volume]) -> None:
    for volume in volumes:
        limits.give(tx, volume.account_id, tags=_storage_tags(tx, volume), volume=1, primary_storage=volume.size)


def volume_grows(tx: Session, volume: Volume, more: int) -> None:
    """A disk becomes larger by so many bytes, smaller where that is negative."""
    limits.take(tx, volume.account_id, tags=_storage_tags(tx, volume), primary_storage=more)


def _storage_tags(tx: Session, volume: Volume) -> tuple[str, ...]:
    if volume.disk_offering_id is None or not limits.STORAGE_TAGS.words():
        return ()
    return words(tx.scalar(select(DiskOffering.tags).where(DiskOffering.id == volume.disk_offering_id)))


def counts_network(network: Network) -> bool:
    return network.traffic_type == "Guest" and not network.is_system and network.acl_type == "Account"


def network_comes(tx: Session, network: Network) -> None:
    if counts_network(network):
        limits.take(tx, network.account_id, network=1)


def network_goes(tx: Session, network: Network) -> None:
    if counts_network(network):
        limits.give(tx, network.account_id, network=1)


def address_comes(tx: Session, account_id: int | None) -> None:
    """Somebody got a public address."""
    if account_id not in (None, SYSTEM_ACCOUNT):
        limits.take(tx, account_id, public_ip=1)


def address_goes(tx: Session, account_id: int | None) -> None:
    if account_id not in (None, SYSTEM_ACCOUNT):
        limits.give(tx, account_id, public_ip=1)


def template_comes(tx: Session, template: Template) -> None:
    if template.type in TENANTS:
        limits.take(tx, template.account_id, template=1)


def template_goes(tx: Session, template: Template) -> None:
    if template.type in TENANTS:
        limits.give(tx, template.account_id, template=1)


def image_comes(tx: Session, template: Template, size: int) -> None:
    """A template's image is on secondary storage: so many bytes there."""
    if template.type in STORED and size:
        limits.take(tx, template.account_id, secondary_storage=size)


def image_goes(tx: Session, template: Template, size: int) -> None:
    if template.type in STORED and size:
        limits.give(tx, template.account_id, secondary_storage=size)


def snapshot_comes(tx: Session, snapshot: Snapshot) -> None:
    """A snapshot was asked for. It counts until it is deleted, or could not be made."""
    limits.take(tx, snapshot.account_id, snapshot=1)


def snapshot_goes(tx: Session, snapshot: Snapshot) -> None:
    limits.give(tx, snapshot.account_id, snapshot=1)


def file_comes(tx: Session, snapshot: Snapshot, size: int) -> None:
    """A snapshot's file is on secondary storage: so many bytes there, until it is gone."""
    if size:
        limits.take(tx, snapshot.account_id, secondary_storage=size)


def file_goes(tx: Session, snapshot: Snapshot, size: int) -> None:
    if size:
        limits.give(tx, snapshot.account_id, secondary_storage=size)


def upload_comes(tx: Session, volume: Volume, size: int) -> None:
    """A disk's image is on secondary storage: so many bytes there."""
    if size:
        limits.take(tx, volume.account_id, secondary_storage=size)


def upload_goes(tx: Session, volume: Volume, size: int) -> None:
    if size:
        limits.give(tx, volume.account_id, secondary_storage=size)
