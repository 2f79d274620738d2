"""Management controllers of hosts: configured, switched on and off, and used."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Use
from mgmt_server.drivers.power import ACTIONS, dispatch
from mgmt_server.drivers.power.ipmitool import PASSWORD
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.ha import OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.checks import alone, one_of
from mgmt_server.resources.outofband import flows, rows
from mgmt_server.resources.outofband.rows import SWITCHED
from mgmt_server.resources.outofband.views import of_cluster_view, of_host_view, of_zone_view


@command("configureOutOfBandManagement", roles=ROOT, answers=of_host_view, event="HOST.OOBM.CONFIGURE")
def configure(
    ctx: Context, hostid: Use[Host], driver: str, address: str, port: str, username: str, password: str
) -> Host:
    """Tell where a host's management controller is and how to get in.

    hostid: the host
    driver: ipmitool, redfish, or simulator for simulated hosts
    address: its name or address
    port: its port
    username: the user to log in as
    password: that user's password; it is told nowhere
    """
    kind = one_of("driver", driver, dispatch.DRIVERS) or ""
    if kind == "simulator" and hostid.hypervisor != "Simulator":
        raise InvalidValue("driver=simulator is for simulated hosts: use ipmitool or redfish")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidValue(f"port={port[:20]} is no port: IPMI has 623, Redfish 443")
    if address.startswith("-") or any(c in address for c in " /@?#"):
        raise InvalidValue(f"address={address[:100]} is no name or address of a host")
    if username.startswith("-"):
        raise InvalidValue("username must not start with a hyphen")
    alone(ctx, hostid)
    row = rows.row_of(ctx.session, hostid.id)
    if row is None:
        row = OutOfBand(host_id=hostid.id)
        ctx.session.add(row)
    row.driver, row.address, row.port, row.username, row.password = kind, address, int(port), username, password
    row.told = None
    ctx.session.flush()
    ctx.subject = hostid
    ctx.describe(f"configuring the management controller of host {hostid.name}")
    return hostid


def _switch(ctx: Context, host: Host, enabled: bool) -> Accepted:
    row = rows.row_of(ctx.session, host.id)
    if row is None:
        raise InvalidValue(f"host {host.name} has no management controller: call configureOutOfBandManagement first")
    ctx.describe(f"{'enabling' if enabled else 'disabling'} the management controller of host {host.name}")
    return ctx.start(flows.switch, host, enabled, lock=_lock(host))


def _lock(host: Host) -> str:
    return f"power:{host.id}"  # not the host's: a host that hangs in a job of its own can still be switched off


@command("enableOutOfBandManagementForHost", roles=ROOT, answers=of_host_view, event="HOST.OOBM.ENABLE")
def enable(ctx: Context, hostid: Use[Host]) -> Accepted:
    """Let a host's management controller be used.

    hostid: the host
    """
    return _switch(ctx, hostid, True)


@command("disableOutOfBandManagementForHost", roles=ROOT, answers=of_host_view, event="HOST.OOBM.DISABLE")
def disable(ctx: Context, hostid: Use[Host]) -> Accepted:
    """Leave a host's management controller alone.

    hostid: the host
    """
    return _switch(ctx, hostid, False)


@command("enableOutOfBandManagementForCluster", roles=ROOT, answers=of_cluster_view, event="HOST.OOBM.ENABLE")
def enable_cluster(ctx: Context, clusterid: Use[Cluster]) -> Accepted:
    """Let the management controllers of a cluster's hosts be used, those that are enabled.

    clusterid: the cluster
    """
    ctx.describe(f"enabling the management controllers of cluster {clusterid.name}")
    return ctx.start(flows.switch_cluster, clusterid, SWITCHED, True)


@command("disableOutOfBandManagementForCluster", roles=ROOT, answers=of_cluster_view, event="HOST.OOBM.DISABLE")
def disable_cluster(ctx: Context, clusterid: Use[Cluster]) -> Accepted:
    """Leave the management controllers of a cluster's hosts alone.

    clusterid: the cluster
    """
    ctx.describe(f"disabling the management controllers of cluster {clusterid.name}")
    return ctx.start(flows.switch_cluster, clusterid, SWITCHED, False)


@command("enableOutOfBandManagementForZone", roles=ROOT, answers=of_zone_view, event="HOST.OOBM.ENABLE")
def enable_zone(ctx: Context, zoneid: Use[Zone]) -> Accepted:
    """Let the management controllers of a zone's hosts be used, those that are enabled.

    zoneid: the zone
    """
    ctx.describe(f"enabling the management controllers of zone {zoneid.name}")
    return ctx.start(flows.switch_zone, zoneid, SWITCHED, True)


@command("disableOutOfBandManagementForZone", roles=ROOT, answers=of_zone_view, event="HOST.OOBM.DISABLE")
def disable_zone(ctx: Context, zoneid: Use[Zone]) -> Accepted:
    """Leave the management controllers of a zone's hosts alone.

    zoneid: the zone
    """
    ctx.describe(f"disabling the management controllers of zone {zoneid.name}")
    return ctx.start(flows.switch_zone, zoneid, SWITCHED, False)


@command("issueOutOfBandManagementPowerAction", roles=ROOT, answers=of_host_view, event="HOST.OOBM.ACTION")
def power(ctx: Context, hostid: Use[Host], action: str, timeout: int | None = None) -> Accepted:
    """Switch a host's power, or ask its controller for it. Machines on the host are not moved away first.

    hostid: the host
    action: ON, OFF, CYCLE, RESET, SOFT or STATUS
    timeout: seconds that the controller may take
    """
    wanted = one_of("action", action, ACTIONS) or ""
    if timeout is not None and not 0 < timeout <= 3600:
        raise InvalidValue(f"timeout={timeout} is not within 1 to 3600 seconds")
    rows.usable(ctx.session, hostid)
    ctx.describe(f"power action {wanted} on host {hostid.name}")
    return ctx.start(flows.power, hostid, wanted, timeout or 0, lock=_lock(hostid))


@command("changeOutOfBandManagementPassword", roles=ROOT, answers=of_host_view, event="HOST.OOBM.CHANGEPASSWORD")
def change_password(ctx: Context, hostid: Use[Host], password: str | None = None) -> Accepted:
    """Give the user of a host's management controller another password.

    hostid: the host
    password: the new one; one is made when it is left out
    """
    row = rows.usable(ctx.session, hostid)
    wanted = password or rows.new_password()
    if row.driver == "ipmitool" and not PASSWORD.fullmatch(wanted):
        raise InvalidValue(
            "password: IPMI takes 1 to 20 letters, digits and signs; no spaces, quotes, # and backslashes"
        )
    if row.next_password is not None:
        raise InvalidValue(f"the password of the controller of host {hostid.name} is being changed already: wait")
    row.next_password = wanted
    ctx.describe(f"changing the password of the management controller of host {hostid.name}")
    return ctx.start(flows.change_password, hostid, lock=_lock(hostid))
