"""Rolling maintenance of hosts."""

from __future__ import annotations

from dataclasses import replace

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.view import View, always
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.offering.rules import between
from mgmt_server.resources.rolling.flows import STAGE, Asked, rolling

# the flow's own answer stands beside it; the zone is what such a job is about
rolling_view = View("rollingmaintenance", Zone, response="RollingMaintenanceResponse", success=always(True))


@command("startRollingMaintenance", roles=ROOT, answers=rolling_view, event="ZONE.ROLLING.MAINTENANCE")
def start(
    ctx: Context,
    zoneids: list[Operate[Zone]] | None = None,
    podids: list[Operate[Pod]] | None = None,
    clusterids: list[Operate[Cluster]] | None = None,
    hostids: list[Operate[Host]] | None = None,
    forced: bool = False,
    payload: str | None = None,
    timeout: int | None = None,
) -> Accepted:
    """Empty hosts one after the other, have each run its own maintenance scripts, and take it back.

    zoneids: all hosts of these zones
    podids: all hosts of these pods
    clusterids: all hosts of these clusters
    hostids: these hosts
    forced: whether to go on with the next host when one fails
    payload: a text that every script is given
    timeout: seconds that a script may take, instead of what the setting says
    """
    sent = {"Zone": zoneids, "Pod": podids, "Cluster": clusterids, "Host": hostids}
    given = {kind: rows for kind, rows in sent.items() if rows}
    if len(given) != 1:
        raise InvalidValue("send one of zoneids, podids, clusterids and hostids")
    ((kind, found),) = given.items()
    between("timeout", timeout, 1, 86400)
    wanted = Asked(kind, tuple(sorted({row.id for row in found})), forced, payload or "", timeout or STAGE.number())
    zone = ctx.session.get_one(Zone, getattr(found[0], "zone_id", found[0].id))
    ctx.command = replace(ctx.command, event=f"{kind.upper()}.ROLLING.MAINTENANCE")
    ctx.describe(f"starting rolling maintenance of {kind.lower()} {', '.join(row.name for row in found)}")
    return ctx.start(rolling, zone, wanted, lock="rolling maintenance")
