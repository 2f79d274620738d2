"""How fast networks and NICs are, in Mbit/s: as an offering says, and where it says nothing, as a setting does."""

from __future__ import annotations

from dataclasses import dataclass

from mgmt_server.model.settings import Scope, Setting

LIMITED = ("Guest", "Public")  # the traffic that is: what carries the cloud itself is not

OF_NETWORKS = Setting(
    "network.throttling.rate",
    "Mbit/s of NICs in a network whose offering names no rate, and of routers; 0 or less: no limit",
    least=-1,
)
OF_MACHINES = Setting(
    "vm.network.throttling.rate",
    "Mbit/s of a machine's default NIC where its offering names no rate; 0 or less: no limit",
    least=-1,
)


def of_network(own: int | None, *scopes: Scope) -> int:
    """0: no limit. `own`: what the network's offering says."""
    return max(own if own is not None else OF_NETWORKS.number(*scopes), 0)


@dataclass(frozen=True)
class Rate:
    """Mbit/s, 0: no limit. `by_default`: no offering says it."""

    mbit: int
    by_default: bool = False


def of_nic(
    kind: str, traffic: str, zone_id: int, of_machine: int | None, of_its_network: int | None, *, default: bool
) -> Rate:
    """What a NIC of a machine of this kind gets. `of_machine`, `of_its_network`: what the offerings say.

    The offering of a user's machine is for its default NIC, that of a router for all that it carries for others.
    """
    if traffic not in LIMITED:
        return Rate(0)
    first = kind == "User" and default
    own = of_machine if first or kind == "DomainRouter" else of_its_network
    if own is None and first:
        return Rate(max(OF_MACHINES.number(), 0), True)
    return Rate(of_network(own, Scope("Zone", zone_id)), own is None)
