"""Picks the driver that a host's management controller was configured with."""

from __future__ import annotations

from mgmt_server.drivers.power import Controller, Power, ipmitool, redfish, simulator
from mgmt_server.errors import InvalidValue

DRIVERS = ("ipmitool", "redfish", "simulator")

_drivers: dict[str, Power] = {}


def use(name: str, found: Power) -> None:
    """Have all controllers of this driver asked through `found`."""
    _drivers[name] = found


def driver(name: str) -> Power:
    if name not in _drivers:
        use(name, _made(name))
    return _drivers[name]


def _made(name: str) -> Power:
    if name == "ipmitool":
        return ipmitool.Ipmitool()
    if name == "redfish":
        return redfish.Redfish()
    if name == "simulator":
        return simulator.SimulatedPower()
    raise InvalidValue(f"driver={name[:50]} is none of {', '.join(DRIVERS)}")


def act(name: str, controller: Controller, action: str, timeout: float) -> str:
    return driver(name).act(controller, action, timeout)


def change_password(name: str, controller: Controller, password: str, timeout: float) -> None:
    driver(name).change_password(controller, password, timeout)
