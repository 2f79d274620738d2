"""What a NIC's guest is told by DHCP besides the usual: as clients write it, and which networks can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue
from mgmt_server.model.network import Network
from mgmt_server.protocol import dhcp
from mgmt_server.resources.network.create import services

PREFIX = "dhcp:"
MOST = 20  # options of one NIC


def options(parameter: str, row: Mapping[str, str]) -> dict[str, str]:
    """Code -> value of the entries dhcp:CODE. Raises InvalidValue."""
    found = {}
    for name, value in row.items():
        if not name.lower().startswith(PREFIX):
            raise InvalidValue(f"{parameter}: {name[:50]} is no DHCP option: write {parameter}[0].dhcp:66=value")
        code = name[len(PREFIX) :].strip()
        try:
            dhcp.written(code, value)
        except ValueError as error:
            raise InvalidValue(f"{parameter}: {error}") from error
        found[str(int(code))] = value
    if len(found) > MOST:
        raise InvalidValue(f"{parameter} has {len(found)} options: a NIC has {MOST} at most")
    return found


def of_nic(tx: Session, network: Network, rows: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Those of dhcpoptions."""
    found = options("dhcpoptions", {k: v for row in rows or () for k, v in row.items()})
    if found:
        check(tx, network)
    return found


def of_networks(
    tx: Session, networks: Sequence[Network], rows: Sequence[Mapping[str, str]] | None
) -> dict[int, dict[str, str]]:
    """Those of dhcpoptionsnetworklist, by network; each has to be one of the machine's."""
    by_uuid = {n.uuid: n for n in networks}
    found: dict[int, dict[str, str]] = {}
    for row in rows or ():
        uuid = next((v for k, v in row.items() if k.lower() == "networkid"), "")
        network = by_uuid.get(uuid)
        if network is None:
            raise InvalidValue(f"dhcpoptionsnetworklist: the machine has no NIC in a network {uuid[:50]!r}")
        check(tx, network)
        asked = {k: v for k, v in row.items() if k.lower() != "networkid"}
        found[network.id] = found.get(network.id, {}) | options("dhcpoptionsnetworklist", asked)
    return found


def check(tx: Session, network: Network) -> None:
    if "Dhcp" not in services(tx, network.offering_id):
        raise InvalidValue(f"The network {network.name} has no DHCP: leave DHCP options out")
