"""Disks from outside: fetched from a URL, or sent by a browser's form."""

from __future__ import annotations

from typing import Annotated, Any

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Use, no_entity
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.checksum import digest_of
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.template.flows import stores_of
from mgmt_server.resources.template.rules import check_host, url_of
from mgmt_server.resources.template.sound import kept_as
from mgmt_server.resources.transfer.tickets import make_ticket
from mgmt_server.resources.volume import stored, upload
from mgmt_server.resources.volume.offerings import check_offering, open_offering
from mgmt_server.resources.volume.views import volume_view

FORMATS = ("QCOW2", "RAW", "VHD", "VHDX", "OVA", "VMDK")  # hosts with KVM are given all but RAW as QCOW2
Url = Annotated[str, Length(2048)]


@command("uploadVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.UPLOAD")
def upload_volume(
    ctx: Context,
    name: str,
    url: Url,
    format: str,
    zoneid: Use[Zone],
    diskofferingid: Use[DiskOffering] | None = None,
    checksum: str | None = None,
    imagestoreuuid: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Have the server fetch a disk's image. It goes to primary storage when the disk is attached first.

    name: the disk's name
    url: where its image is, http or https
    format: QCOW2, RAW, VHD, VHDX, VMDK or OVA
    zoneid: the zone
    diskofferingid: what it gets; of a size that users choose
    checksum: hexadecimal digest of the file, or {SHA-256}digest
    imagestoreuuid: the secondary storage to keep it on; for administrators
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    simulated = stored.is_simulated(ctx.session, zoneid.id)
    if simulated:
        url_of(url)  # whose images are never fetched
    else:
        check_host(url_of(url))
    whose = owner(ctx, account, domainid, projectid)
    store = _store(ctx, zoneid, imagestoreuuid)
    volume, row = _register(ctx, name, format, zoneid, diskofferingid, checksum, whose, store, simulated)
    row.url = url
    ctx.session.flush()
    ctx.describe(f"fetching disk {name}")
    return ctx.start(upload.upload, volume, row.id)


@command("getUploadParamsForVolume", roles=EVERYONE, key="getuploadparams", event="VOLUME.UPLOAD")
def upload_parameters(
    ctx: Context,
    name: str,
    format: str,
    zoneid: Use[Zone],
    diskofferingid: Use[DiskOffering] | None = None,
    checksum: str | None = None,
    imagestoreuuid: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> dict[str, Any]:
    """Register a disk whose image a browser's form will send, and tell what the form needs.

    name: the disk's name
    format: QCOW2, RAW, VHD, VHDX, VMDK or OVA
    zoneid: the zone
    diskofferingid: what it gets; of a size that users choose
    checksum: hexadecimal digest of the file, or {SHA-256}digest
    imagestoreuuid: the secondary storage to keep it on; for administrators
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    whose = owner(ctx, account, domainid, projectid)
    store = _store(ctx, zoneid, imagestoreuuid)
    simulated = stored.is_simulated(ctx.session, zoneid.id)
    volume, _ = _register(ctx, name, format, zoneid, diskofferingid, checksum, whose, store, simulated)
    volume.state = "NotUploaded"
    ticket = make_ticket(ctx.session, volume, "Volume", volume.uuid)
    ctx.subject = volume
    ctx.describe(f"waiting for the image of disk {name}")
    return {
        "id": volume.uuid,
        "postURL": ticket.url,
        "metadata": ticket.metadata,
        "expires": ticket.expires,
        "signature": ticket.signature,
    }


def _store(ctx: Context, zone: Zone, wanted: str | None) -> ImageStore:
    if zone.allocation_state != "Enabled" and not ctx.caller.is_root:
        raise InvalidValue(f"The zone {zone.name} is disabled: only root administrators bring disks there")
    stores = stores_of(ctx.session, zone.id)
    if wanted is not None:
        if not ctx.caller.is_root:
            raise InvalidValue("imagestoreuuid is for root administrators: leave it out")
        stores = [s for s in stores if s.uuid == wanted]
        if not stores:
            raise no_entity("imagestoreuuid", wanted)
    if not stores:
        raise Unavailable("The zone has no secondary storage with room: an administrator adds one with addImageStore")
    return stores[0]


def _register(
    ctx: Context,
    name: str,
    format: str,
    zone: Zone,
    offering: DiskOffering | None,
    checksum: str | None,
    whose: Account,
    store: ImageStore,
    simulated: bool,
) -> tuple[Volume, VolumeOnStore]:
    if checksum:
        digest_of(checksum)
    kind = one_of("format", format, FORMATS) or format
    if offering is not None:
        check_offering(ctx, offering, zone)
        if not offering.customized:
            raise InvalidValue(f"The offering {offering.name} has a size of its own: choose one that is customized")
    chosen = offering if offering is not None else open_offering(ctx)
    volume = Volume(
        name=name,
        kind="DATADISK",
        size=0,
        zone_id=zone.id,
        account_id=whose.id,
        domain_id=whose.domain_id,
        disk_offering_id=chosen.id if chosen is not None else None,
        format=kind,
        details={},
    )
    ctx.session.add(volume)
    ctx.session.flush()
    counted.volumes_come(ctx.session, [volume])
    kept = kept_as("Simulator" if simulated else "KVM", kind)
    path = f"volumes/{whose.id}/{volume.id}/{volume.uuid}.{kept.lower()}"
    row = VolumeOnStore(
        volume_id=volume.id, store_id=store.id, zone_id=zone.id, format=kind, checksum=checksum or None, path=path
    )
    ctx.session.add(row)
    ctx.session.flush()
    return volume, row
