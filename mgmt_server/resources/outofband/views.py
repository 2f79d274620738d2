"""Management controllers as operators see them. The password is told nowhere."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View, shown
from mgmt_server.model.ha import OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.outofband.rows import SWITCHED

KEY, RESPONSE = "outofbandmanagement", "OutOfBandManagementResponse"


def _switch(details: dict[str, Any] | None) -> bool:
    return str((details or {}).get(SWITCHED, "true")).lower() != "false"


def powered(enabled: bool | None, power: str | None) -> str:
    return power or "Unknown" if enabled else "Disabled"


of_host_view = View(
    KEY,
    Host,
    response=RESPONSE,
    joins=((OutOfBand, OutOfBand.host_id == Host.id),),
    hostid=Host.uuid,
    enabled=shown(bool, OutOfBand.enabled),
    driver=OutOfBand.driver,
    address=OutOfBand.address,
    port=shown(lambda port: None if port is None else str(port), OutOfBand.port),
    username=OutOfBand.username,
    powerstate=shown(powered, OutOfBand.enabled, OutOfBand.power),
    description=OutOfBand.told,
)
of_cluster_view = View(KEY, Cluster, response=RESPONSE, enabled=shown(_switch, Cluster.details))
of_zone_view = View(KEY, Zone, response=RESPONSE, enabled=shown(_switch, Zone.details))
