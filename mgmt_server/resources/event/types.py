"""The types of events that this server tells, by the protocol's names."""

from __future__ import annotations

from mgmt_server.api.command import registry

# told by what is no command, or by commands beside the event that they are declared with
BESIDES = (
    *("USER.LOGIN", "USER.LOGOUT", "REGISTER.USER.KEY", "API.KEY.ACCESS.UPDATE"),
    *("UPDATE.PS", "ENABLE.PS", "DISABLE.PS"),
    *("PROXY.START", "PROXY.STOP", "PROXY.REBOOT", "PROXY.DESTROY"),
    *("POD.ROLLING.MAINTENANCE", "CLUSTER.ROLLING.MAINTENANCE", "HOST.ROLLING.MAINTENANCE"),
    *("HA.STATE.TRANSITION", "HOST.OOBM.POWERSTATE.TRANSITION"),
    *("ISO.CREATE", "TEMPLATE.DOWNLOAD.START", "TEMPLATE.DOWNLOAD.SUCCESS", "TEMPLATE.DOWNLOAD.FAILED"),
    *("VM.LEASE.EXPIRING", "VM.LEASE.EXPIRED", "VM.LEASE.CANCELLED", "VM.LEASE.DISABLED"),
    *("VM.SCHEDULE.START", "VM.SCHEDULE.STOP", "VM.SCHEDULE.REBOOT"),
    *("VM.SCHEDULE.FORCE.STOP", "VM.SCHEDULE.FORCE.REBOOT"),
    *("ZONE.VLAN.ASSIGN", "ZONE.VLAN.RELEASE", "ZONE.VXLAN.ASSIGN", "ZONE.VXLAN.RELEASE"),
    "VOLUME.DELETE",
)


def types() -> list[str]:
    return sorted({c.event for c in registry.values() if c.event}.union(BESIDES))
