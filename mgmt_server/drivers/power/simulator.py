"""The power of simulated hosts. One that is off answers nothing, and its machines run no more.

Off is a fault like those that testers switch on: listSimulatorFaults shows it.
"""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import after_commit, now, reading, write
from mgmt_server.drivers.hypervisor import HostRef, faults
from mgmt_server.drivers.hypervisor.faults import OFF, around
from mgmt_server.drivers.hypervisor.simulator import leave
from mgmt_server.drivers.power import Controller
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedFault, SimulatedMachine


class SimulatedPower:
    def act(self, controller: Controller, action: str, timeout: float) -> str:
        with around("power", HostRef(controller.host, controller.name, "Simulator")):
            if action == "STATUS":
                return "Off" if _is_off(controller.host) else "On"
            write(switch, controller.host, action)
            return ""

    def change_password(self, controller: Controller, password: str, timeout: float) -> None:
        return


def _is_off(host: str) -> bool:
    rows = select(SimulatedFault.id).join(Host, Host.id == SimulatedFault.host_id)
    with reading() as session:
        return session.scalar(rows.where(SimulatedFault.failure == OFF, Host.uuid == host).limit(1)) is not None


def switch(tx: Session, host: str, action: str) -> None:
    """Everything but ON cuts what runs; OFF and SOFT leave the host dark."""
    number = tx.scalar(select(Host.id).where(Host.uuid == host))
    if number is None:
        return
    if action != "ON":
        leave(tx, host)
        running = update(SimulatedMachine).where(SimulatedMachine.host == host)
        tx.execute(running.values(state="Stopped").execution_options(synchronize_session=False))
    gone = delete(SimulatedFault).where(SimulatedFault.failure == OFF, SimulatedFault.host_id == number)
    tx.execute(gone.execution_options(synchronize_session=False))
    if action in ("OFF", "SOFT"):
        tx.add(SimulatedFault(method="*", host_id=number, failure=OFF, unavailable=True))
        seen = update(Host).where(Host.id == number, Host.state.in_(("Up", "Connecting")))
        tx.execute(seen.values(state="Down", disconnected=now()).execution_options(synchronize_session=False))
    after_commit(faults.forget)
