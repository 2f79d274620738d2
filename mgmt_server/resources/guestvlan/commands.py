"""Guest VLANs of physical networks: who has each, and those that the networks of one account keep for themselves."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InUse, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import GuestVlanRange, PhysicalNetwork, Vnet, Zone
from mgmt_server.resources.checks import alone, tag_ranges
from mgmt_server.resources.guestvlan.views import guest_vlan_view, vlan_view
from mgmt_server.resources.physicalnetwork.flows import done


@command("dedicateGuestVlanRange", roles=ROOT, answers=guest_vlan_view, event="GUESTVLANRANGE.DEDICATE")
def dedicate_vlans(
    ctx: Context,
    physicalnetworkid: Operate[PhysicalNetwork],
    vlanrange: str,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> GuestVlanRange:
    """Keep VLANs of a physical network for the networks of one account.

    physicalnetworkid: the physical network
    vlanrange: the VLANs, as 100-110 or 100
    account: the account
    domainid: its domain
    projectid: the project instead of an account
    """
    tx, network = ctx.session, physicalnetworkid
    alone(ctx, network)
    if not account and projectid is None:
        raise InvalidValue("account is missing: say with account and domainid, or with projectid, who gets the VLANs")
    named = owner(ctx, account, domainid, projectid)
    ((first, last), *more) = tag_ranges("vlanrange", vlanrange, 1, 2**24 - 1)
    if more:
        raise InvalidValue(f"vlanrange={vlanrange[:50]} is more than one range: dedicate each for itself")
    _free_for(tx, network, first, last, named)
    found = GuestVlanRange(
        physical_network_id=network.id, first=first, last=last, account_id=named.id, domain_id=named.domain_id
    )
    tx.add(found)
    ctx.describe(f"dedicating VLANs {first} to {last} of {network.name} to account {named.name}")
    return found


@command("releaseDedicatedGuestVlanRange", roles=ROOT, event="GUESTVLANRANGE.RELEASE")
def release_vlans(ctx: Context, id: Operate[GuestVlanRange]) -> Accepted:
    """Let everybody's networks use VLANs again. Networks that have one of them keep it.

    id: the range
    """
    ctx.describe(f"releasing VLANs {id.first} to {id.last}")
    accepted = ctx.start(done, id)
    ctx.session.delete(id)
    return accepted


@command("listDedicatedGuestVlanRanges", roles=ROOT, answers=guest_vlan_view)
def list_vlans(
    ctx: Context,
    id: Use[GuestVlanRange] | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    zoneid: Use[Zone] | None = None,
    guestvlanrange: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Rows:
    """List VLANs that are dedicated to accounts.

    id: this range alone
    physicalnetworkid: those of this physical network
    zoneid: those of this zone
    guestvlanrange: the range from 100 to 110 as 100-110
    account: those of this account
    domainid: those of this domain
    projectid: those of this project
    """
    found = Rows(guest_vlan_view).where(
        id=id and id.id, physical_network_id=physicalnetworkid, domain_id=domainid,
        account_id=projectid and projectid.account_id,
    )  # fmt: skip
    if guestvlanrange is not None:
        ((first, last), *_) = tag_ranges("guestvlanrange", guestvlanrange, 1, 2**24 - 1)
        found = found.where(first=first, last=last)
    return found.where(
        Account.name == account if account else None,
        PhysicalNetwork.zone_id == zoneid.id if zoneid is not None else None,
    )


@command("listGuestVlans", roles=ROOT, answers=vlan_view)
def list_guest_vlans(
    ctx: Context,
    id: int | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    zoneid: Use[Zone] | None = None,
    vnet: str | None = None,
    allocatedonly: bool = False,
) -> Rows:
    """List the VLANs and VNIs that guest networks may take, which of them have one, and for whom some are kept.

    id: this one alone, by the number that the list tells
    physicalnetworkid: those of this physical network
    zoneid: those of this zone
    vnet: this VLAN or VNI
    allocatedonly: only those that a network has
    """
    tag = vnet.strip() if vnet is not None else None
    if tag is not None and not re.fullmatch("[0-9]{1,8}", tag):
        raise InvalidValue(f"vnet={tag[:50]} is no VLAN or VNI: send its number")
    found = Rows(vlan_view).where(id=id, physical_network_id=physicalnetworkid, tag=int(tag) if tag else None)
    return found.where(
        PhysicalNetwork.zone_id == zoneid.id if zoneid is not None else None,
        Vnet.network_id.is_not(None) if allocatedonly else None,
    )


def _free_for(tx: Session, network: PhysicalNetwork, first: int, last: int, account: Account) -> None:
    """Refuse VLANs that the physical network has not, that are dedicated, or that others use."""
    mine = (Vnet.physical_network_id == network.id) & Vnet.tag.between(first, last)
    held = len(tx.scalars(select(Vnet.id).where(mine).with_for_update()).all())
    if held != last - first + 1:
        raise InvalidValue(
            f"the VLANs {first} to {last} are not all in {network.vlan or 'nothing'}, the range of physical network "
            f"{network.name}: widen it with updatePhysicalNetwork"
        )
    meets = (GuestVlanRange.first <= last) & (GuestVlanRange.last >= first)
    rows = select(GuestVlanRange, Account.name).join(Account, Account.id == GuestVlanRange.account_id)
    other = tx.execute(rows.where(GuestVlanRange.physical_network_id == network.id, meets).limit(1)).first()
    if other is not None:
        raise InvalidValue(
            f"the VLANs {other[0].first} to {other[0].last} are dedicated to account {other[1]}: release them first"
        )
    using = select(Vnet.tag, Network.name).join(Network, Network.id == Vnet.network_id)
    others = tx.execute(using.where(mine, Network.account_id != account.id).order_by(Vnet.tag).limit(3)).all()
    if others:
        names = ", ".join(f"{tag} by {name}" for tag, name in others)
        raise InUse(f"networks of others use VLANs of the range ({names}): delete those networks first")
