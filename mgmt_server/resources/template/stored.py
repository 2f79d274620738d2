"""Templates' images as hosts are told of them: on secondary storage, or at the URL that they were registered with."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import DownloadCertificate, Template
from mgmt_server.protocol.machine import Authority, Direct, Image, Store
from mgmt_server.resources.imagestore.settings import at_host
from mgmt_server.resources.template.bring import FOLLOWED, GIB, INSIDE, LARGEST

DIAL = Setting(
    "direct.download.connect.timeout",
    "Milliseconds that hosts wait for a connection to where they fetch an image themselves",
    least=100,
)
SILENCE = Setting(
    "direct.download.socket.timeout",
    "Milliseconds without a byte after which hosts give up such a connection, and try again",
    least=100,
)


def image_in(tx: Session, template_id: int | None, zone_id: int) -> Image | None:
    """A template's image in the zone; None while there is none."""
    row = tx.execute(
        select(TemplateOnStore, ImageStore, Template)
        .outerjoin(ImageStore, ImageStore.id == TemplateOnStore.store_id)
        .join(Template, Template.id == TemplateOnStore.template_id)
        .where(
            TemplateOnStore.template_id == template_id,
            TemplateOnStore.zone_id == zone_id,
            TemplateOnStore.state == "Ready",
            TemplateOnStore.reachable(),
        )
        .order_by(TemplateOnStore.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    on_store, store, template = row
    if store is None:
        return Image(
            uuid=template.uuid,
            store=Store(template.url),
            path="",
            format=template.format,
            size=0,  # the server may pack or serve it otherwise next time; its content is checked
            virtual_size=on_store.size,
            checksum=template.checksum or "",
            direct=Direct(
                url=template.url,
                allowed=tuple(INSIDE.words()),
                largest=LARGEST.number() * GIB,
                authorities=authorities_of(tx, zone_id),
                redirects=FOLLOWED.flag(),
                dial=DIAL.number() / 1000,
                silence=SILENCE.number() / 1000,
            ),
        )
    return Image(
        uuid=template.uuid,
        store=at_host(store),
        path=on_store.path,
        format=on_store.kept_as(template.format),
        size=on_store.physical_size,
        virtual_size=on_store.size,
        checksum=template.checksum or "",
    )


def authorities_of(tx: Session, zone_id: int, hypervisor: str = "KVM") -> tuple[Authority, ...]:
    """The certificates that the zone's hosts trust where they fetch from URLs, each with the agents that do.

    Hosts with KVM are those that fetch: simulated ones have certificates, and no use for them.
    """
    rows = select(DownloadCertificate).where(
        DownloadCertificate.zone_id == zone_id,
        DownloadCertificate.hypervisor == hypervisor,
        DownloadCertificate.removed.is_(None),
    )
    found = []
    for row in tx.scalars(rows.order_by(DownloadCertificate.id)):
        if not row.only and not row.revoked:
            found.append(Authority(row.certificate))
            continue
        hosts = select(Host).where(Host.zone_id == zone_id, Host.removed.is_(None), Host.agent.is_not(None))
        agents = [h.agent for h in tx.scalars(hosts) if h.agent and uses(row, h)]
        if agents:
            found.append(Authority(row.certificate, tuple(agents)))
    return tuple(found)


def uses(certificate: DownloadCertificate, host: Host) -> bool:
    return host.uuid not in certificate.revoked and (not certificate.only or host.uuid in certificate.only)
