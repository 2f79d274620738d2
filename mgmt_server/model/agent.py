"""Agents, what they were asked, their certificates' root, and the tokens by which new ones join."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Long
from mgmt_server.db.secrets import Secret


class Agent(Base):
    """Whoever holds a certificate of ours and dials 8250: the agent of a host, or a system VM."""

    __tablename__ = "agent"

    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))  # host, systemvm
    address: Mapped[str] = mapped_column(default="")  # as the agent names itself
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)  # raised by whichever node owns the connection
    node: Mapped[str] = mapped_column(default="", index=True)  # the node it is connected to, empty: none
    seen: Mapped[datetime | None] = mapped_column(default=None)  # last connect or disconnect
    boot_id: Mapped[str] = mapped_column(String(64), default="")
    version: Mapped[str] = mapped_column(String(64), default="")
    facts: Mapped[Long] = mapped_column(default="")  # JSON of HostFacts
    serial: Mapped[str] = mapped_column(String(64), default="")  # of the certificate in use, hex
    next_serial: Mapped[str] = mapped_column(String(64), default="")  # of the one issued at renewal, not seen yet
    certified: Mapped[datetime | None] = mapped_column(default=None)  # from when its newest certificate is good
    expires: Mapped[datetime | None] = mapped_column(default=None)  # and until when

    __table_args__ = (Index("ix_agent_name_kind", "name", "kind"), Base.__table_args__)


class AgentCommand(Base):
    """A command in the mailbox. `uuid` is the call id of whoever asked, and the id on the wire."""

    __tablename__ = "agent_command"

    agent: Mapped[str] = mapped_column(String(36))  # uuid
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)  # under which it was sent last
    type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[str] = mapped_column(Secret)  # JSON; it may hold a console's password
    correlation: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(String(16), default="Waiting")  # Waiting, Sent, Answered, Withdrawn
    answer: Mapped[Long] = mapped_column(default="")  # JSON of Answer
    durable: Mapped[bool] = mapped_column(default=True)  # False: a question relayed to another node, deleted once read

    __table_args__ = (Index("ix_agent_command_state_agent", "state", "agent"), Base.__table_args__)


class AgentToken(Base):
    """Lets one agent of that name join, once. Only the digest of the token is kept."""

    __tablename__ = "agent_token"

    digest: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256, hex
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    expires: Mapped[datetime]
    used: Mapped[datetime | None] = mapped_column(default=None)


class CertificateAuthority(Base):
    """The root of all certificates of this cloud; `name` is unique so that two nodes cannot make two."""

    __tablename__ = "certificate_authority"

    name: Mapped[str] = mapped_column(String(64), unique=True)
    certificate: Mapped[Long]  # PEM
    key: Mapped[str] = mapped_column(Secret)  # PEM
