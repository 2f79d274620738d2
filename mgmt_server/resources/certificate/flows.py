"""Certificates: a new one for a host's agent without a person on the host, one for a service, and one that ends."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.agents import ca, directory, issued
from mgmt_server.agents.issued import Issued, Wanted
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.protocol.identity import CertificateRequest
from mgmt_server.resources.storage import rows as storage


def provision(job: Job, host_id: int, reconnect: bool) -> None:
    """The key stays where it is. The certificate that the host has serves until the new one is seen."""
    host = job.write(ref, host_id)
    wanted = job.call(dispatch.certificate_request, host)
    certificate = job.call(sign, host, wanted)
    job.call(dispatch.take_certificate, host, certificate, reconnect)


def ref(tx: Session, host_id: int) -> HostRef:
    return storage.ref(tx.get_one(Host, host_id))


def sign(call: UUID, host: HostRef, wanted: CertificateRequest) -> str:
    """A repeat signs once more: the one before has gone nowhere."""
    return directory.provide(ca.load(), host.agent, wanted.csr, wanted.serial)


def issue(job: Job, _: int, wanted: Wanted) -> None:
    made = job.call(certify, wanted)
    job.answer(certificate=made.certificate, **({"privatekey": made.key} if made.key else {}))


def certify(call: UUID, wanted: Wanted) -> Issued:
    """A repeat makes another one: nobody has seen the one before."""
    return issued.issue(ca.load(), wanted)


def revoke(job: Job, agent: int, serial: str) -> None:
    job.call(cut, job.write(directory.revoke, agent, serial))


def cut(call: UUID, agent: str) -> None:
    """On this node at once; another's link looks by itself for agents that are not its own any more."""
    directory.cut(agent)
