"""NICs and secondary addresses as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.vm import Vm
from mgmt_server.resources.views import nic_view

listed_nic_view = nic_view.extended(joins=((Vm, Vm.id == Nic.vm_id),), virtualmachineid=Vm.uuid)

address_view = View(
    "nicsecondaryip",
    NicAddress,
    response="NicSecondaryIpResponse",
    joins=(
        (Nic, Nic.id == NicAddress.nic_id),
        (Network, Network.id == NicAddress.network_id),
        (Vm, Vm.id == Nic.vm_id),
    ),
    id=NicAddress.uuid,
    ipaddress=NicAddress.address,
    nicid=Nic.uuid,
    networkid=Network.uuid,
    virtualmachineid=Vm.uuid,
)
