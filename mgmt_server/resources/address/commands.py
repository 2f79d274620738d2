"""Public addresses: what may be asked."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.zone import Address, PhysicalNetwork, VlanRange, Zone
from mgmt_server.resources.address.views import address_view
from mgmt_server.resources.checks import one_of


@command("listPublicIpAddresses", roles=EVERYONE, answers=address_view)
def list_addresses(
    ctx: Context,
    id: Use[Address] | None = None,
    ipaddress: str | None = None,
    state: str | None = None,
    allocatedonly: bool = True,
    zoneid: Use[Zone] | None = None,
    vlanid: Use[VlanRange] | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    networkid: Use[Network] | None = None,
    associatednetworkid: Use[Network] | None = None,
    issourcenat: bool | None = None,
    isstaticnat: bool | None = None,
    forsystemvms: bool | None = None,
    forvirtualnetwork: bool = True,
    forloadbalancing: bool | None = None,
    forprovider: bool | None = None,
    fordisplay: bool | None = None,
    vpcid: str | None = None,
    retrieveonlyresourcecount: bool = False,
) -> Rows:
    """List public addresses.

    id: this address alone
    ipaddress: the one that reads so
    state: Free or Allocated
    allocatedonly: false lists free ones too
    zoneid: those of this zone
    vlanid: those of this range
    physicalnetworkid: those on this physical network
    networkid: those of this public network
    associatednetworkid: those associated with this network
    issourcenat: source NAT addresses of networks, or the others
    isstaticnat: true lists nothing: there is no static NAT yet
    forsystemvms: those of ranges kept for system VMs, or the others
    forvirtualnetwork: false lists addresses of shared networks instead
    forloadbalancing: true lists nothing: there are no load balancers yet
    forprovider: true lists nothing: no provider has addresses of its own
    fordisplay: false lists nothing: all are shown
    vpcid: lists nothing: there are no VPCs
    retrieveonlyresourcecount: tell how many there are, and no more
    """
    kind = "VirtualNetwork" if forvirtualnetwork else "DirectAttached"
    rows = Rows(address_view).where(
        VlanRange.type == kind,
        VlanRange.removed.is_(None),
        id=id and id.id,
        address=ipaddress,
        state=one_of("state", state, ("Free", "Allocated")),
        zone_id=zoneid,
        range_id=vlanid,
        network_id=associatednetworkid,
        source_nat=issourcenat,
    )
    if allocatedonly and state is None:
        rows = rows.where(Address.state == "Allocated")
    for column, wanted in ((VlanRange.physical_network_id, physicalnetworkid), (VlanRange.network_id, networkid)):
        if wanted is not None and not (wanted is networkid and wanted.is_system):
            rows = rows.where(Address.range_id.in_(select(VlanRange.id).where(column == wanted.id)))
    if forsystemvms is not None:
        rows = rows.where(VlanRange.for_system_vms == forsystemvms)
    nothing = isstaticnat or forloadbalancing or forprovider or vpcid or fordisplay is False
    return rows.where(Address.id == -1) if nothing else rows
