"""Management controllers of hosts: which counts, and asking it."""

from __future__ import annotations

import secrets
import time
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.drivers.power import Controller, dispatch
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.model.account import SYSTEM_ACCOUNT, SYSTEM_USER
from mgmt_server.model.event import Event
from mgmt_server.model.ha import OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.checks import one_of

TIMEOUT = Setting(
    "outofbandmanagement.action.timeout", "Seconds that a management controller may take for an action", least=1
)
AIMS = {"ON": "On", "OFF": "Off"}  # controllers take these at once, and are done a moment later
LOOK = 0.5  # seconds
SWITCHED = "outOfBandManagementEnabled"  # in the details of a cluster or zone: false switches all of its hosts off


def row_of(tx: Session, host_id: int) -> OutOfBand | None:
    return tx.scalar(select(OutOfBand).where(OutOfBand.host_id == host_id, OutOfBand.removed.is_(None)))


def is_on(tx: Session, host: Host, row: OutOfBand | None, key: str = SWITCHED) -> bool:
    """Whether a host's controller may be asked: enabled for it, and not switched off for its cluster or zone."""
    return row is not None and row.enabled and above_lets(tx, host, key)


def above_lets(tx: Session, host: Host, key: str) -> bool:
    places: list[Any] = [tx.get(Cluster, host.cluster_id), tx.get(Zone, host.zone_id)]
    return not any(p is not None and str((p.details or {}).get(key, "true")).lower() == "false" for p in places)


def usable(tx: Session, host: Host) -> OutOfBand:
    """Raises InvalidValue, with the command that is missing."""
    row = row_of(tx, host.id)
    if row is None or not row.address:
        raise InvalidValue(f"host {host.name} has no management controller: call configureOutOfBandManagement")
    if not row.enabled:
        raise InvalidValue(
            f"the management controller of host {host.name} is disabled: call enableOutOfBandManagementForHost"
        )
    if not above_lets(tx, host, SWITCHED):
        raise InvalidValue(
            f"management controllers are disabled in the cluster or the zone of host {host.name}: call "
            "enableOutOfBandManagementForCluster or enableOutOfBandManagementForZone"
        )
    return row


def act(call: UUID, host_id: int, action: str, timeout: int) -> str:
    """A step of flows: switch a host's power, or ask for it. The state that is known after it: On, Off, Unknown."""
    with reading() as session:
        host = session.get_one(Host, host_id)
        row = usable(session, host)
        driver, controller = row.driver, controller_of(host, row)
        wait = float(timeout or TIMEOUT.number(Scope("Cluster", host.cluster_id)))
    try:
        if action != "STATUS":
            dispatch.act(driver, controller, action, wait)
        power = _power(driver, controller, AIMS.get(action), wait)
        write(note, host_id, power, "")
    except ApiError as error:
        write(note, host_id, "Unknown", str(error))
        raise
    return power


def _power(driver: str, controller: Controller, aim: str | None, wait: float) -> str:
    """What the controller says; if there is an `aim`, when that is reached, or after a while."""
    until = time.monotonic() + wait
    while True:
        power = dispatch.act(driver, controller, "STATUS", wait) or "Unknown"
        if aim in (None, power) or time.monotonic() > until:
            return power
        time.sleep(LOOK)


def status(call: UUID, host_id: int) -> str:
    """The power state that a host's controller tells; empty when there is none to ask, Unknown when it fails."""
    try:
        return act(call, host_id, "STATUS", 0)
    except InvalidValue:
        return ""
    except ApiError:
        return "Unknown"


def controller_of(host: Host, row: OutOfBand) -> Controller:
    return Controller(host.uuid, host.name, row.address, row.port, row.username, row.password or "")


def note(tx: Session, host_id: int, power: str, told: str) -> None:
    """What a controller said last; a change of power is an event."""
    host, row = tx.get_one(Host, host_id), row_of(tx, host_id)
    if row is None:
        return
    if power != row.power:
        text = f"the power of host {host.name} went from {row.power} to {power}"
        tx.add(
            Event(
                type="HOST.OOBM.POWERSTATE.TRANSITION", description=text, user_id=SYSTEM_USER,
                account_id=SYSTEM_ACCOUNT, domain_id=1, resource_type="Host", resource_uuid=host.uuid,
            )
        )  # fmt: skip
    mine = update(OutOfBand).where(OutOfBand.id == row.id).values(power=power, told=told[:1000] or None)
    tx.execute(mine.execution_options(synchronize_session=False))


def change_password(call: UUID, host_id: int) -> None:
    """A step of flows: give the controller the password that waits in its row."""
    with reading() as session:
        host = session.get_one(Host, host_id)
        row = usable(session, host)
        driver, controller, wanted = row.driver, controller_of(host, row), row.next_password
        wait = float(TIMEOUT.number(Scope("Cluster", host.cluster_id)))
    if wanted is None:
        raise Failed(f"no password waits to be set on the controller of host {host.name}")
    dispatch.change_password(driver, controller, wanted, wait)


def new_password() -> str:
    """As long as every IPMI controller takes."""
    return secrets.token_urlsafe(12)


def controlled(enabled: bool) -> ColumnElement[bool]:
    """Hosts whose controller is enabled, or those that have none that is."""
    found = exists().where(OutOfBand.host_id == Host.id, OutOfBand.enabled)
    return found if enabled else ~found


def powered(text: str) -> ColumnElement[bool]:
    """Hosts whose controller told that state last."""
    state = one_of("outofbandmanagementpowerstate", text, ("On", "Off", "Unknown", "Disabled"))
    if state == "Disabled":
        return controlled(False)
    return exists().where(OutOfBand.host_id == Host.id, OutOfBand.enabled, OutOfBand.power == state)
