"""What the simulated outside world holds: its machines, its disks, and the faults that somebody switched on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes
from mgmt_server.model.tenancy import Internal


class SimulatedMachine(Internal, Base):
    """A machine on a simulated host. `call` is the last call that changed it: a repeat of it has no second effect.

    A host does not know of others: one that is told to start what another one runs, starts it. Both run it then, the
    older one as `beside`, and `doubled` counts for good how often that was.
    """

    __tablename__ = "simulated_machine"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    host: Mapped[str] = mapped_column(String(40), index=True)  # uuid
    machine: Mapped[str] = mapped_column(String(40))  # the machine's uuid
    beside: Mapped[str] = mapped_column(String(40), default="", index=True)  # uuid of a host that runs it as well
    doubled: Mapped[int] = mapped_column(default=0)  # how often one host started it while another one ran it
    state: Mapped[str] = mapped_column(String(20))  # Running, Stopped
    cpus: Mapped[int] = mapped_column(default=1)
    memory: Mapped[Bytes] = mapped_column(default=0)
    document_version: Mapped[int] = mapped_column(default=0)  # of the router document that it has
    call: Mapped[str] = mapped_column(String(40))
    starts: Mapped[int] = mapped_column(default=1)  # how often it was really started
    disks: Mapped[list[str]] = mapped_column(JSON, default=list)  # names, while it runs
    places: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # name -> uuid of its pool
    nics: Mapped[list[str]] = mapped_column(JSON, default=list)  # MACs
    iso: Mapped[str] = mapped_column(String(1000), default="")
    points: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # its snapshots: what each holds


class SimulatedDisk(Internal, Base):
    """A disk, or a cached template, in a pool of simulated hosts."""

    __tablename__ = "simulated_disk"
    __table_args__ = (UniqueConstraint("pool", "name"), Base.__table_args__)

    pool: Mapped[str] = mapped_column(String(40))  # uuid
    name: Mapped[str] = mapped_column(String(200))
    size: Mapped[Bytes] = mapped_column(default=0)
    backing: Mapped[str] = mapped_column(default="")
    content: Mapped[int] = mapped_column(default=0)  # a number for what is on it: copies and snapshots carry it along
    call: Mapped[str] = mapped_column(String(40))


class SimulatedFile(Internal, Base):
    """A disk's content on a store of the simulated world."""

    __tablename__ = "simulated_file"
    __table_args__ = (UniqueConstraint("place", "name"), Base.__table_args__)

    place: Mapped[str] = mapped_column(String(40))  # SHA-1 of the store's URL
    name: Mapped[str] = mapped_column(String(600))  # below the store
    size: Mapped[Bytes] = mapped_column(default=0)
    content: Mapped[int] = mapped_column(default=0)  # which state of the disk it holds
    call: Mapped[str] = mapped_column(String(40))


class SimulatedFault(Internal, Base):
    """What goes wrong on purpose: calls of `method` on the host, or everywhere in the zone, pod or cluster named."""

    __tablename__ = "simulated_fault"

    method: Mapped[str] = mapped_column(String(64))  # of the driver; * for all
    zone_id: Mapped[int | None]
    pod_id: Mapped[int | None]
    cluster_id: Mapped[int | None]
    host_id: Mapped[int | None]
    delay: Mapped[float] = mapped_column(default=0.0)  # seconds, before anything happens
    failure: Mapped[str] = mapped_column(default="")  # text of the error; empty: no failure
    unavailable: Mapped[bool] = mapped_column(default=False)  # the host does not answer, instead of failing
    late: Mapped[bool] = mapped_column(default=False)  # fails after the effect instead of before
    skip: Mapped[int] = mapped_column(default=0)  # calls that go well before the first that is met
    left: Mapped[int] = mapped_column(default=-1)  # calls that are still to be met; -1: all
    met: Mapped[int] = mapped_column(default=0)
