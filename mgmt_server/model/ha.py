"""What proves that a host is dead, and brings it down where it is not sure: management controllers and host HA."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Long, States, refers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import Internal


class OutOfBand(Internal, Base):
    """A host's management controller."""

    __tablename__ = "out_of_band"
    __table_args__ = (UniqueConstraint("host_id"), Base.__table_args__)

    host_id: Mapped[int] = refers("host", index=False)
    enabled: Mapped[bool] = mapped_column(default=False)
    driver: Mapped[str] = mapped_column(default="ipmitool")  # redfish, simulator
    address: Mapped[str] = mapped_column(default="")
    port: Mapped[int] = mapped_column(default=623)
    username: Mapped[str] = mapped_column(default="")
    password: Mapped[str | None] = mapped_column(Secret)
    next_password: Mapped[str | None] = mapped_column(Secret)  # while a job changes it
    power: Mapped[str] = mapped_column(default="Unknown")  # On, Off, Disabled
    told: Mapped[Long | None]  # what it said last


class HostHa(Internal, Base):
    """High availability of a host itself, and what is known of its life."""

    __tablename__ = "host_ha"
    __table_args__ = (UniqueConstraint("host_id"), Base.__table_args__)

    host_id: Mapped[int] = refers("host", index=False)
    enabled: Mapped[bool] = mapped_column(default=False)
    provider: Mapped[str] = mapped_column(default="")  # kvmhaprovider, simulatorhaprovider
    state: Mapped[str] = mapped_column(default="Disabled")
    changed: Mapped[datetime | None]
    timeline: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # {at, what} of the last loss


STATES = States(
    HostHa.state,
    Disabled=["Available", "Ineligible"],
    Available=["Suspect", "Ineligible", "Disabled"],
    Ineligible=["Available", "Disabled"],
    Suspect=["Checking", "Available", "Disabled"],
    Checking=["Available", "Degraded", "Recovering", "Fencing", "Suspect", "Disabled"],
    Degraded=["Available", "Suspect", "Disabled"],
    Recovering=["Recovered", "Fencing", "Disabled"],
    Recovered=["Available", "Suspect", "Disabled"],
    Fencing=["Fenced", "Suspect", "Disabled"],
    Fenced=["Available", "Ineligible", "Disabled"],
)
