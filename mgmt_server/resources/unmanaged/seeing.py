"""Machines on hosts that this cloud did not start, or has let go: what hosts say, and how clients see it."""

from __future__ import annotations

import logging
import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import reading
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.errors import ApiError
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster
from mgmt_server.protocol.machine import Unmanaged, UnmanagedDisk, UnmanagedNic
from mgmt_server.resources.storage.rows import ref

log = logging.getLogger("cloudwright.unmanaged")
POWER = {"Running": "PowerOn", "Paused": "PowerOn", "Stopped": "PowerOff"}


def found_on(session: Session, cluster: Cluster, name: str | None = None) -> list[tuple[Host, Unmanaged]]:
    """Machines of a cluster's hosts that are none of ours. Hosts that do not answer are left out, and told in the log.

    Asks the outside world: for the body of a command that is declared `outside`.
    """
    rows = select(Host).where(Host.cluster_id == cluster.id, Host.removed.is_(None), Host.state == "Up")
    seen: list[tuple[Host, Unmanaged]] = []
    for host in session.scalars(rows.order_by(Host.id)):
        try:
            machines = dispatch.describe(ref(host))
        except ApiError as error:
            log.warning("%s cannot say which machines it has: %s", host.name, error)
            continue
        seen += [(host, m) for m in machines if name is None or m.name == name]
    with reading() as fresh:
        ours = _ours(fresh, [m for _, m in seen])
    return [(h, m) for h, m in seen if (m.name, m.uuid) not in ours]


def _ours(session: Session, machines: list[Unmanaged]) -> set[tuple[str, str]]:
    """Names and uuids of those that a row knows. One that was let go is known no more, whatever it is called."""
    numbers = {int(match[1]) for m in machines if (match := re.fullmatch(r"[irvs](?:-\d+)?-(\d+)-VM", m.name))}
    rows = select(Vm).where(Vm.removed.is_(None), Vm.id.in_(numbers) | Vm.uuid.in_([m.uuid for m in machines]))
    known = {key for v in session.scalars(rows) for key in (v.uuid, None if v.called else v.instance)}
    return {(m.name, m.uuid) for m in machines if m.name in known or m.uuid in known}


def shown(session: Session, cluster: Cluster, host: Host, machine: Unmanaged) -> dict[str, Any]:
    uuids = [d.pool for d in machine.disks if d.pool]
    pools = {p.uuid: p for p in session.scalars(select(Pool).where(Pool.uuid.in_(uuids)))} if uuids else {}
    found = {
        "name": machine.name,
        "powerstate": POWER.get(machine.state, "PowerUnknown"),
        "clusterid": cluster.uuid,
        "clustername": cluster.name,
        "hostid": host.uuid,
        "hostname": host.name,
        "hypervisor": host.hypervisor,
        "hypervisorversion": host.hypervisor_version,
        "cpunumber": machine.cpus,
        "cpuspeed": host.speed,
        "memory": machine.memory >> 20,
        "osdisplayname": machine.os,
        "disk": [_disk(d, n, pools.get(d.pool)) for n, d in enumerate(machine.disks)],
        "nic": [_nic(n) for n in machine.nics],
    }
    return {k: v for k, v in found.items() if v not in (None, "")}


def _disk(disk: UnmanagedDisk, position: int, pool: Pool | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": disk.label,
        "label": disk.label,
        "capacity": disk.size,
        "controller": disk.bus,
        "imagepath": disk.source,
        "position": position,
    }
    if pool is not None:
        found |= {
            "datastorename": pool.name,
            "datastoretype": pool.type,
            "datastorepath": pool.path,
            "datastorehost": pool.server,
        }
    return found


def _nic(nic: UnmanagedNic) -> dict[str, Any]:
    found: dict[str, Any] = {"id": nic.mac, "macaddress": nic.mac, "adaptertype": nic.model}
    if nic.vlan:
        found["vlanid"] = nic.vlan
    if nic.addresses:
        found["ipaddresses"] = list(nic.addresses)
    return found
