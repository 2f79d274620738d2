"""What an account or a domain has: counted, not kept. There are no limits in this version, which clients are told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import always
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.network import Network
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address

LIMITED = (
    "vm",
    "ip",
    "volume",
    "snapshot",
    "template",
    "project",
    "network",
    "vpc",
    "cpu",
    "memory",
    "primarystorage",
    "secondarystorage",
)
NONE_YET = {"snapshottotal": 0, "projecttotal": 0, "vpctotal": 0, "secondarystoragetotal": 0.0}
GIB = 1024**3


def _of(owner: Any, table: Any) -> Any:
    if owner is Account:
        return table.account_id == Account.id
    below = aliased(Domain)
    inside = func.substr(below.path, 1, func.length(Domain.path)) == Domain.path
    return table.domain_id.in_(select(below.id).where(inside).correlate(Domain))


def _sum(owner: Any, table: Any, what: Any, *conditions: Any) -> Any:
    rows = select(what).where(_of(owner, table), table.removed.is_(None), *conditions)
    return rows.correlate(owner).scalar_subquery()


def _whole(number: Any) -> Any:
    """MariaDB gives sums as decimals, which are no JSON."""
    return cast(func.coalesce(number, 0), BigInteger)


def totals(owner: Any) -> dict[str, Any]:
    """Fields vmtotal, vmlimit, vmavailable and so on. `owner`: Account, or Domain with those below it."""
    count = func.count()
    user = Vm.kind == "User"
    allocated = Vm.state.not_in(("Destroyed", "Error", "Expunging"))
    fields: dict[str, Any] = {
        "vmtotal": _sum(owner, Vm, count, user, allocated),
        "cputotal": _sum(owner, Vm, _whole(func.sum(Vm.cpus)), user, allocated),
        "memorytotal": _sum(owner, Vm, _whole(func.sum(Vm.memory)), user, allocated),
        "volumetotal": _sum(owner, Volume, count),
        "primarystoragetotal": _sum(owner, Volume, _whole(func.sum(Volume.size) / GIB)),
        "networktotal": _sum(owner, Network, count, Network.traffic_type == "Guest"),
        "templatetotal": _sum(owner, Template, count, Template.type == "USER"),
        "iptotal": _sum(owner, Address, count, Address.state == "Allocated"),
        **{name: always(value) for name, value in NONE_YET.items()},
    }
    if owner is Account:
        fields["vmrunning"] = _sum(owner, Vm, count, user, Vm.state == "Running")
        fields["vmstopped"] = _sum(owner, Vm, count, user, Vm.state == "Stopped")
    for what in LIMITED:
        fields[f"{what}limit"] = fields[f"{what}available"] = always("Unlimited")
    return fields
