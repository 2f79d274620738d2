"""Which ranges of public addresses and of VLANs an account takes from: its own first, never those of others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from mgmt_server.allocation.dedication import allows, domains_above
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.zone import GuestVlanRange, VlanRange, Vnet

SYSTEM_ADDRESSES = Setting(
    "use.system.public.ips",
    "Whether accounts with public addresses of their own take those of everybody when theirs are used up",
)
SYSTEM_VLANS = Setting(
    "use.system.guest.vlans",
    "Whether accounts with guest VLANs of their own take those of everybody when theirs are used up",
)
STRICT = Setting(
    "system.vm.public.ip.reservation.mode.strictness",
    "Whether system VMs take only public addresses of ranges that are kept for them",
)


def of_addresses(tx: Session, account_id: int) -> tuple[ColumnElement[bool], tuple[Any, ...]]:
    """Ranges of public addresses that the account may take from, and what orders them."""
    everybodys = VlanRange.account_id.is_(None) & VlanRange.domain_id.is_(None)
    if account_id == SYSTEM_ACCOUNT:
        kept = VlanRange.for_system_vms if STRICT.flag() else true()
        return everybodys & kept, (VlanRange.for_system_vms.desc(),)
    own = allows(VlanRange.account_id, VlanRange.domain_id, account_id, domains_above(tx, account_id))
    there = select(VlanRange.id).where(own, VlanRange.type == "VirtualNetwork", VlanRange.removed.is_(None))
    alone = not SYSTEM_ADDRESSES.flag(*of_account(tx, account_id)) and tx.scalar(there.limit(1)) is not None
    order = (VlanRange.account_id.is_(None), VlanRange.domain_id.is_(None))
    return ~VlanRange.for_system_vms & (own if alone else own | everybodys), order


def of_vlans(tx: Session, physical_network_id: int | None, account_id: int) -> tuple[ColumnElement[bool], Any]:
    """VLANs of a physical network that the account may take, and what orders them."""
    within = and_(
        GuestVlanRange.physical_network_id == Vnet.physical_network_id,
        Vnet.tag.between(GuestVlanRange.first, GuestVlanRange.last),
    )
    ranges = select(GuestVlanRange.id).where(within).correlate(Vnet)
    own = ranges.where(GuestVlanRange.account_id == account_id).exists()
    there = select(GuestVlanRange.id).where(
        GuestVlanRange.account_id == account_id, GuestVlanRange.physical_network_id == physical_network_id
    )
    alone = not SYSTEM_VLANS.flag(*of_account(tx, account_id)) and tx.scalar(there.limit(1)) is not None
    return own if alone else or_(own, ~ranges.exists()), own.desc()
