"""A new certificate for a host's agent, without a person on the host."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.agents import ca, directory
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
