"""Commands that change something, kept until they are answered: the table agent_command.

A command is Waiting until a node has put it on the wire (Sent), Answered for good, or Withdrawn when whoever asked gave
up: then it is not sent again, so that an undo is never followed by a late start. Asking again under the same id makes
a withdrawn command wait anew, and gives the first answer of an answered one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.errors import Failed
from mgmt_server.model.agent import AgentCommand
from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.link import Answer, Request

KEPT = timedelta(days=7)  # longer than any job is repeated


@dataclass(frozen=True)
class Pending:
    """A command that must be put on the wire."""

    agent: str
    request: Request  # its epoch is the connection's, set when it is sent


def put(
    call: str, agent: str, type: str, body: Any, correlation: str, epoch: int = 0, durable: bool = True
) -> Answer | None:
    """Have the command in the mailbox; its answer if there is one already.

    With the epoch of a connection it counts as sent: whoever puts it there sends it at once.
    """
    try:
        return db.write(_put, call, agent, type, body, correlation, epoch, durable)
    except IntegrityError:  # the same step, in another worker
        return db.write(_put, call, agent, type, body, correlation, epoch, durable)


def _put(
    tx: Session, call: str, agent: str, type: str, body: Any, correlation: str, epoch: int, durable: bool
) -> Answer | None:
    state = "Sent" if epoch else "Waiting"
    row = tx.scalar(select(AgentCommand).where(AgentCommand.uuid == call))
    if row is None:
        row = AgentCommand(uuid=call, agent=agent, type=type, correlation=correlation[:255], durable=durable)
        row.payload, row.state, row.epoch = dump(body).decode(), state, epoch
        tx.add(row)
        return None
    if (row.agent, row.type) != (agent, type):
        raise Failed(f"The call {call} was used for {row.type} before, and cannot be used for {type} as well")
    if row.state == "Answered":
        return build(Answer, parse(row.answer))
    row.state, row.epoch = state, epoch
    return None


def answer_of(call: str) -> Answer | None:
    with db.reading() as session:
        row = session.execute(
            select(AgentCommand.answer).where(AgentCommand.uuid == call, AgentCommand.state == "Answered")
        ).first()
    return None if row is None else build(Answer, parse(row[0]))


def keep_answer(answer: Answer) -> None:
    """Note the answer, once: a second one under the same id changes nothing."""
    db.write(_keep_answer, answer)


def _keep_answer(tx: Session, answer: Answer) -> None:
    tx.execute(
        update(AgentCommand)
        .where(AgentCommand.uuid == answer.id, AgentCommand.state != "Answered")
        .values(state="Answered", answer=dump(answer).decode())
        .execution_options(synchronize_session=False)
    )


def sent(calls: list[str], epoch: int) -> None:
    db.write(_sent, calls, epoch)


def _sent(tx: Session, calls: list[str], epoch: int) -> None:
    tx.execute(
        update(AgentCommand)
        .where(AgentCommand.uuid.in_(calls), AgentCommand.state == "Waiting")
        .values(state="Sent", epoch=epoch)
        .execution_options(synchronize_session=False)
    )


def withdraw(call: str) -> bool:
    """Nobody waits for it any more: do not send it (again). Whether it had been on the wire, outcome unknown."""
    return db.write(_withdraw, call)


def _withdraw(tx: Session, call: str) -> bool:
    for state in ("Waiting", "Sent"):
        done = tx.execute(
            update(AgentCommand)
            .where(AgentCommand.uuid == call, AgentCommand.state == state)
            .values(state="Withdrawn")
            .execution_options(synchronize_session=False)
        )
        if db.changed(done):
            return state == "Sent"
    return False


def forget(call: str) -> None:
    """Delete a relayed question."""
    db.write(lambda tx: tx.execute(delete(AgentCommand).where(AgentCommand.uuid == call)))


def open_commands(agents: list[str], *, before: int = 0) -> list[Pending]:
    """What these agents must still be told, oldest first.

    `before`: the epoch of a connection; then also what earlier ones may have lost.
    """
    wanted = AgentCommand.state == "Waiting"
    if before:
        wanted |= (AgentCommand.state == "Sent") & (AgentCommand.epoch < before)
    found: list[Pending] = []
    with db.reading() as session:
        for start in range(0, len(agents), 500):
            rows = session.scalars(
                select(AgentCommand)
                .where(wanted, AgentCommand.agent.in_(agents[start : start + 500]))
                .order_by(AgentCommand.id)
            )
            found += [
                Pending(r.agent, Request(r.uuid, 0, r.type, parse(r.payload), r.correlation, durable=r.durable))
                for r in rows
            ]
    return found


def waiting_agents() -> set[str]:
    """Agents that have a command which no node has sent yet."""
    with db.reading() as session:
        return set(session.scalars(select(AgentCommand.agent).where(AgentCommand.state == "Waiting").distinct()))


def prune() -> int:
    """Delete what is long over; how many rows."""
    gone = delete(AgentCommand).where(
        AgentCommand.state.in_(("Answered", "Withdrawn")), AgentCommand.created < db.now() - KEPT
    )
    return db.write(lambda tx: db.changed(tx.execute(gone)))
