"""What the database holds of jobs: the job, its finished steps, the nodes that work, the timers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, ColumnElement, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Long, refers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import Caller, Internal

OPEN = ("queued", "running", "waiting")


class Node(Internal, Base):
    """A management server. `epoch` is raised at each start: what an earlier life claimed is known as abandoned."""

    __tablename__ = "node"

    name: Mapped[str] = mapped_column(unique=True)
    epoch: Mapped[int] = mapped_column(default=0)
    heartbeat: Mapped[datetime | None]
    address: Mapped[str | None]
    version: Mapped[str | None]
    started: Mapped[datetime | None]
    stopped: Mapped[datetime | None]  # last heartbeat of its earlier life
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # see jobs.facts
    looked: Mapped[datetime | None]  # when the facts were true


class JobRow(Base):
    """`state` says whether the job is free, held or over; `undoing` which way it goes. `fence` is raised by each claim:
    whoever holds an older one can write nothing."""

    __tablename__ = "job"
    __table_args__: Any = (
        Index("ix_job_state_id", "state", "id"),
        Index("ix_job_lock_state", "lock", "state", "id"),
        Index("ix_job_instance_state", "instance_uuid", "state"),
        Base.__table_args__,
    )

    command: Mapped[str] = mapped_column(default="")
    flow: Mapped[str]
    arguments: Mapped[list[Any]] = mapped_column(JSON)
    lock: Mapped[str] = mapped_column(String(100))  # jobs with the same lock run one after the other
    state: Mapped[str] = mapped_column(String(10), default="queued")  # running, waiting, done, failed
    undoing: Mapped[bool] = mapped_column(default=False)
    waits_for: Mapped[int | None] = refers("job", index=True)
    not_before: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    node_id: Mapped[int | None] = refers("node")
    node_epoch: Mapped[int] = mapped_column(default=0)
    account_id: Mapped[int | None] = refers("account")
    domain_id: Mapped[int | None] = refers("domain")
    user_id: Mapped[int | None] = refers("user")
    instance_type: Mapped[str | None] = mapped_column(String(50))
    instance_uuid: Mapped[str | None] = mapped_column(String(40))
    answers: Mapped[str | None] = mapped_column(String(100))  # the command whose view answers; empty: success
    note: Mapped[str | None] = mapped_column(Secret)  # JSON that is added to the answer, such as a password
    result: Mapped[str | None] = mapped_column(Secret)  # JSON
    error: Mapped[Long | None]
    inventory: Mapped[Long | None]  # what root administrators read instead of the error: it names hosts and pools
    error_code: Mapped[int] = mapped_column(default=0)
    cs_code: Mapped[int] = mapped_column(default=0)
    completed: Mapped[datetime | None]
    correlation: Mapped[str | None] = mapped_column(String(40))
    event: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    tenant_scoped: ClassVar[bool] = True  # lists of it narrow by account and domain, though it may have none

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.account_id, cls.domain_id)

    usable_by = operable_by

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        return false()


class StepRow(Base):
    __tablename__ = "job_step"
    __table_args__: Any = (UniqueConstraint("job_id", "position"), Base.__table_args__)

    job_id: Mapped[int] = refers("job", index=False)
    position: Mapped[int]
    name: Mapped[str]
    arguments: Mapped[str] = mapped_column(Secret)  # JSON; both may hold passwords
    value: Mapped[str] = mapped_column(Secret)
    undo: Mapped[str | None]
    undone: Mapped[bool] = mapped_column(default=False)
    outside: Mapped[bool]


class Timer(Base):
    __tablename__ = "timer"

    name: Mapped[str] = mapped_column(unique=True)
    due: Mapped[datetime]
