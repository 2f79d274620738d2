"""High availability of hosts as operators see it."""

from __future__ import annotations

from mgmt_server.api.view import View, shown
from mgmt_server.model.ha import HostHa
from mgmt_server.model.host import Host

hostha_view = View(
    "hostha",
    Host,
    response="HostHAResponse",
    joins=((HostHa, HostHa.host_id == Host.id),),
    hostid=Host.uuid,
    haenable=shown(bool, HostHa.enabled),
    haprovider=shown(lambda provider: provider or None, HostHa.provider),
    hastate=shown(lambda state: state or "Disabled", HostHa.state),
)
