"""Fields and nested views that several resources answer with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import String, cast, func, select

from mgmt_server.api.view import View, shown
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.protocol import dhcp

__all__ = ["nic_view", "owner_fields", "owner_joins", "pending_job", "spoken_path"]


def spoken_path(path: str | None) -> str | None:
    """A domain's path as clients know it: ROOT, ROOT/a/b."""
    return "ROOT" + path.rstrip("/") if path else None


def owner_joins(table: Any) -> tuple[tuple[Any, Any], ...]:
    return (
        (Account, Account.id == table.account_id),
        (Domain, Domain.id == table.domain_id),
        (Project, Project.account_id == table.account_id),
    )


def _unless_project(name: str | None, project: int | None) -> str | None:
    return None if project is not None else name


def owner_fields(path: bool = True) -> dict[str, Any]:
    """account, domainid, domain, domainpath, projectid, project; use with `owner_joins`."""
    fields = {
        "account": shown(_unless_project, Account.name, Project.id),
        "domainid": Domain.uuid,
        "domain": Domain.name,
        "projectid": Project.uuid,
        "project": Project.name,
    }
    return {**fields, "domainpath": shown(spoken_path, Domain.path)} if path else fields


def pending_job(table: Any) -> Any:
    """The uuid of an unfinished job about the row; for jobid, and for jobstatus through `status_of`."""
    jobs = select(JobRow.uuid).where(JobRow.instance_uuid == table.uuid, JobRow.state.in_(OPEN))
    return jobs.correlate(table.__table__).limit(1).scalar_subquery()


def _device(device: int) -> str:
    return str(device)


def _secondary_of(text: str | None) -> list[dict[str, str]]:
    if not text:
        return []
    found = sorted((int(number), uuid, address) for number, uuid, address in (e.split("=") for e in text.split(",")))
    return [{"id": uuid, "ipaddress": address} for _, uuid, address in found]


def _dhcp_of(nic: str, options: dict[str, str] | None) -> list[dict[str, object]]:
    if not options:
        return []
    return [
        {
            "id": str(uuid5(UUID(nic), code)),
            "nicid": nic,
            "extradhcpoptioncode": int(code),
            "extradhcpoptionname": dhcp.KNOWN[int(code)][0],
            "extradhcpvalue": value,
        }
        for code, value in sorted(options.items(), key=lambda each: int(each[0]))
    ]


# in the NIC's own statement: few have any, and another one for each list would cost all of them
_secondary = (
    select(func.group_concat(cast(NicAddress.id, String(20)) + "=" + NicAddress.uuid + "=" + NicAddress.address))
    .where(NicAddress.nic_id == Nic.id, NicAddress.removed.is_(None))
    .correlate(Nic)
    .scalar_subquery()
)

nic_view = View(
    "nic",
    Nic,
    response="NicResponse",
    joins=((Network, Network.id == Nic.network_id),),
    order=(Nic.device, Nic.id),
    id=Nic.uuid,
    networkid=Network.uuid,
    networkname=shown(lambda name, system: None if system else name, Network.name, Network.is_system),
    netmask=Nic.netmask,
    gateway=Nic.gateway,
    ipaddress=Nic.address,
    ip6address=Nic.ip6_address,
    isolationuri=Nic.broadcast,
    broadcasturi=Nic.broadcast,
    traffictype=Nic.traffic,
    type=Network.guest_type,
    isdefault=Nic.is_default,
    macaddress=Nic.mac,
    deviceid=Nic.device,
    secondaryip=shown(_secondary_of, _secondary),
    extradhcpoption=shown(_dhcp_of, Nic.uuid, Nic.dhcp_options),
)
