"""Which agents there are, who owns their connection, and how new ones join: the table agent."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.agents import tokens
from mgmt_server.agents.ca import AUTOMATIC, Authority, Identity, life_of
from mgmt_server.errors import Failed, NotPermitted
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope
from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.link import Enroll, Enrolled, Hello
from mgmt_server.protocol.machine import HostFacts

MOST_EPOCH = 1 << 53
links: list[Callable[[str], None]] = []  # the links of this process: each closes an agent's connection, if it has it
REPLACED = "The agent is not known here (any more), or its certificate was replaced: enrol it again"


def enroll(authority: Authority, message: Enroll, servers: tuple[str, ...], peer: str = "") -> Enrolled:
    """Spend the token and issue a certificate. An agent that joins again under its name keeps its uuid, and its former
    certificates are worth nothing from then on. Raises NotPermitted, ParameterError."""

    def work(tx: Session) -> Enrolled:
        name = tokens.spend(tx, message.token, message.name, message.kind)
        row = tx.scalar(select(Agent).where(Agent.name == name, Agent.kind == message.kind, Agent.removed.is_(None)))
        if row is None:
            row = Agent(uuid=str(uuid4()), name=name, kind=message.kind)
            tx.add(row)
        certificate, row.serial = authority.sign(
            message.csr, message.kind, row.uuid, name, addresses=_reached_at(name, peer)
        )
        row.next_serial = ""
        for column, moment in life_of(certificate).items():
            setattr(row, column, moment)
        return Enrolled(row.uuid, name, certificate, authority.pem, servers)

    return db.write(work)


def _reached_at(name: str, peer: str) -> tuple[str, ...]:
    """Under what other hosts know it: its name, short and long, and the address that it came from."""
    return tuple(dict.fromkeys(a for a in (name, name.split(".")[0], peer) if a))


def renew(authority: Authority, identity: Identity, csr: str, peer: str = "") -> dict[str, str]:
    """A new certificate for whoever holds `identity`; the old one serves until the new one is seen.

    Raises NotPermitted where renewal is switched off.
    """
    if not AUTOMATIC.flag(*_cluster_of(identity.uuid)):
        raise NotPermitted(f"Certificates are not renewed here ({AUTOMATIC.name}): enrol {identity.name} again")
    addresses = _reached_at(identity.name, peer)
    certificate, serial = authority.sign(csr, identity.role, identity.uuid, identity.name, addresses=addresses)
    _issued(identity.uuid, identity.serial, serial, certificate)
    return {"certificate": certificate, "ca": authority.pem}


def provide(authority: Authority, uuid: str, csr: str, held: str) -> str:
    """A new certificate for an agent that was asked for its request; `held` is the serial of the one that it has now.

    That one serves until the new one is seen. Raises NotPermitted for an agent that is gone.
    """
    with db.reading() as session:
        row = session.scalar(select(Agent).where(Agent.uuid == uuid, Agent.removed.is_(None)))
    if row is None:
        raise NotPermitted(REPLACED)
    certificate, serial = authority.sign(csr, row.kind, uuid, row.name, addresses=_reached_at(row.name, row.address))
    _issued(uuid, held, serial, certificate)
    return certificate


def _issued(uuid: str, held: str, next_serial: str, certificate: str) -> None:
    """Whoever holds a certificate that was replaced or revoked gets no new one, be it over a link from before."""
    values = {"serial": held, "next_serial": next_serial, **life_of(certificate)}
    good = or_(Agent.serial == held, Agent.next_serial == held)
    mine = update(Agent).where(Agent.uuid == uuid, Agent.removed.is_(None), good)
    if not db.write(lambda tx: db.changed(tx.execute(mine.values(values)))):
        raise NotPermitted(REPLACED)


def holder(session: Session, serial: str) -> Agent | None:
    """The agent that a certificate with this serial lets in."""
    good = or_(Agent.serial == serial, Agent.next_serial == serial)
    return session.scalar(select(Agent).where(good, Agent.removed.is_(None)))


def revoke(tx: Session, agent: int, serial: str) -> str:
    """Have a certificate open nothing any more; the agent's uuid. Its connection ends, on whichever node it is."""
    for column in (Agent.serial, Agent.next_serial):
        tx.execute(update(Agent).where(Agent.id == agent, column == serial).values({column: ""}))
    tx.execute(update(Agent).where(Agent.id == agent).values(node=""))
    return tx.get_one(Agent, agent).uuid


def _cluster_of(agent: str) -> tuple[Scope, ...]:
    with db.reading() as session:
        number = session.scalar(select(Host.cluster_id).where(Host.agent == agent, Host.removed.is_(None)))
    return () if number is None else (Scope("Cluster", number),)


def own(identity: Identity, hello: Hello, node: str) -> int:
    """Make this node the owner of the agent: the epoch, by compare-and-set. Raises NotPermitted when the agent was
    removed, or its certificate replaced."""
    for _ in range(20):
        with db.reading() as session:
            row = session.scalar(select(Agent).where(Agent.uuid == identity.uuid, Agent.removed.is_(None)))
        if row is None or row.kind != identity.role:
            raise NotPermitted(f"The agent {identity.name} is not known here (any more): enrol it again")
        if identity.serial not in (row.serial, row.next_serial):
            raise NotPermitted(f"The certificate of {identity.name} was replaced by a newer one: enrol the agent again")
        # an agent that obeyed a higher epoch has seen a database newer than a restored one
        epoch = max(row.epoch, hello.epoch if 0 <= hello.epoch < MOST_EPOCH else 0) + 1
        if db.write(_own, row.id, row.epoch, epoch, identity, hello, node):
            return epoch
    raise Failed(f"The epoch of {identity.name} could not be raised: too many connections of one agent at once")


def _own(tx: Session, row: int, before: int, epoch: int, identity: Identity, hello: Hello, node: str) -> bool:
    facts = hello.facts
    values = {
        "epoch": epoch,
        "node": node,
        "seen": db.now(),
        "boot_id": hello.boot_id[:64],
        "version": hello.version[:64],
        "facts": dump(facts).decode() if facts else "",
        "address": facts.address[:255] if facts else "",
        "certified": identity.not_before.replace(tzinfo=None),
        "expires": identity.not_after.replace(tzinfo=None),
    }
    done = tx.execute(
        update(Agent)
        .where(Agent.id == row, Agent.epoch == before)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if db.changed(done):
        # the new certificate has been seen: no other is left that would do
        tx.execute(
            update(Agent)
            .where(Agent.id == row, Agent.next_serial == identity.serial)
            .values(serial=identity.serial, next_serial="")
            .execution_options(synchronize_session=False)
        )
        return True
    return False


def disown(uuid: str, epoch: int) -> None:
    """The connection under `epoch` is over; nothing where a newer one has begun."""
    db.write(
        lambda tx: tx.execute(
            update(Agent).where(Agent.uuid == uuid, Agent.epoch == epoch).values(node="", seen=db.now())
        )
    )


def disown_all(node: str) -> None:
    """This node starts: nobody is connected to it yet. Who was, is gone since now at most: nobody looked meanwhile."""
    db.write(lambda tx: tx.execute(update(Agent).where(Agent.node == node).values(node="", seen=db.now())))


def owned(node: str) -> dict[str, int]:
    """uuid -> epoch of the agents that the database holds for this node's."""
    with db.reading() as session:
        rows = session.execute(select(Agent.uuid, Agent.epoch).where(Agent.node == node, Agent.removed.is_(None)))
        return {row[0]: row[1] for row in rows}


def node_of(uuid: str) -> tuple[str, str]:
    """(name, node) of an agent, for errors and for relaying; empty where it is unknown or not connected."""
    with db.reading() as session:
        row = session.execute(select(Agent.name, Agent.node).where(Agent.uuid == uuid)).first()
    return ("", "") if row is None else (row[0], row[1])


def known(kind: str = "host") -> list[tuple[str, str, str, str, HostFacts | None]]:
    """(uuid, name, address, node, facts) of all agents of a kind, on whichever node; node is empty where offline."""
    with db.reading() as session:
        rows = session.execute(
            select(Agent.uuid, Agent.name, Agent.address, Agent.node, Agent.facts).where(
                Agent.kind == kind, Agent.removed.is_(None)
            )
        ).all()
    return [(u, n, a, node, build(HostFacts, parse(f)) if f else None) for u, n, a, node, f in rows]


def remove(uuid: str) -> None:
    """The agent is no longer welcome: its certificates are refused from now on."""
    db.write(lambda tx: tx.execute(update(Agent).where(Agent.uuid == uuid).values(removed=db.now(), node="")))


def cut(agent: str) -> None:
    """End the connection of an agent, if this process has it."""
    for disconnect in links:
        disconnect(agent)
