"""ISOs: discs that machines are installed from, kept like templates."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use, no_entity
from mgmt_server.errors import InUse, InvalidValue, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Domain, Project
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.checksum import digest_of
from mgmt_server.resources.checks import assign, one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.template import flows
from mgmt_server.resources.template.adding import add, fetched
from mgmt_server.resources.template.changing import machines_with, remove, renewed
from mgmt_server.resources.template.rules import (
    ARCHITECTURES,
    NO_HYPERVISOR,
    check_host,
    check_visibility,
    iso_alone,
    url_of,
    zones_of,
)
from mgmt_server.resources.template.views import iso_alone_view, iso_view

Url = Annotated[str, Length(2048)]
Text = Annotated[str, Length(4096)]


@command("registerIso", roles=EVERYONE, answers=iso_view)
def register(
    ctx: Context,
    name: str,
    url: Url,
    zoneid: str,
    displaytext: Text | None = None,
    ostypeid: Use[OsType] | None = None,
    bootable: bool = True,
    checksum: str | None = None,
    ispublic: bool = False,
    isfeatured: bool = False,
    isextractable: bool = False,
    passwordenabled: bool = False,
    isdynamicallyscalable: bool = False,
    arch: str | None = None,
    imagestoreuuid: str | None = None,
    directdownload: bool = False,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> list[dict[str, Any]]:
    """Register an ISO. The server fetches it in the background; listIsos tells how far it is.

    name: its name
    url: where it is, http or https; it may be packed with gzip, bzip2 or xz
    zoneid: the zone that it is for; -1 for all
    displaytext: what users read; the name by default
    ostypeid: the operating system that it installs; needed where machines boot from it
    bootable: whether machines may start from it
    checksum: hexadecimal digest of the file, or {SHA-256}digest
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    passwordenabled: whether the guests that it installs take passwords
    isdynamicallyscalable: whether its guests may be resized while they run
    arch: x86_64 or aarch64
    imagestoreuuid: the secondary storage that it goes to; for root administrators
    directdownload: hosts fetch it from the URL at the first use; it is on no secondary storage
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    whose = owner(ctx, account, domainid, projectid)
    check_visibility(ctx, whose, ispublic, isfeatured)
    if ostypeid is None and bootable:
        raise ParameterError("Please provide a guest OS type as ostypeid (listOsTypes names them), or bootable=false")
    if checksum:
        digest_of(checksum)
    zones, everywhere = zones_of(ctx, zoneid, None)
    if not all(flows.zone_is_simulated(ctx.session, z.id) for z in zones):  # there nothing is fetched
        check_host(url_of(url))
    if directdownload and imagestoreuuid:
        raise InvalidValue("directdownload=true: the ISO is on no secondary storage: leave imagestoreuuid out")
    store = _store(ctx, imagestoreuuid, zones) if imagestoreuuid else None
    iso = add(
        ctx,
        whose,
        name=name,
        display_text=displaytext,
        format="ISO",
        hypervisor=NO_HYPERVISOR,
        url=url_of(url),
        checksum=checksum or None,
        os_type_id=ostypeid and ostypeid.id,
        bootable=bootable,
        public=ispublic,
        featured=isfeatured,
        extractable=isextractable,
        cross_zones=everywhere,
        direct_download=directdownload,
        password_enabled=passwordenabled,
        dynamically_scalable=isdynamicallyscalable,
        arch=one_of("arch", arch, ARCHITECTURES),
    )
    ctx.describe(f"registering ISO {name}")
    ctx.event("ISO.CREATE", iso)
    return fetched(ctx, iso, zones, store, iso_view)


def _store(ctx: Context, text: str, zones: list[Zone]) -> ImageStore:
    """The store that an administrator chose for the one zone."""
    rows = select(ImageStore).where(
        ImageStore.uuid == text, ImageStore.removed.is_(None), ImageStore.operable_by(ctx.caller)
    )
    found = ctx.session.scalar(rows)
    if found is None:
        raise no_entity("imagestoreuuid", text)
    if found.readonly:
        raise InvalidValue(f"imagestoreuuid: {found.name} is read-only")
    if len(zones) != 1 or found.zone_id not in (None, zones[0].id):
        raise InvalidValue(f"imagestoreuuid: {found.name} is not the storage of that zone alone: leave it out")
    return found


@command("updateIso", roles=EVERYONE, answers=iso_alone_view, event="ISO.UPDATE", unsupported=("format",))
def update(
    ctx: Context,
    id: Operate[Template],
    name: str | None = None,
    displaytext: Text | None = None,
    ostypeid: Use[OsType] | None = None,
    passwordenabled: bool | None = None,
    sshkeyenabled: bool | None = None,
    requireshvm: bool | None = None,
    isdynamicallyscalable: bool | None = None,
    bootable: bool | None = None,
    arch: str | None = None,
    details: dict[str, str] | None = None,
    cleanupdetails: bool = False,
    sortkey: int | None = None,
    isrouting: bool = False,
    forceupdateostype: bool = False,
) -> Template:
    """Change what is known of an ISO.

    id: the ISO
    name: its new name
    displaytext: what users read
    ostypeid: the operating system that it installs
    passwordenabled: whether the guests that it installs take passwords
    sshkeyenabled: whether they take SSH keys
    requireshvm: whether it needs hardware virtualisation
    isdynamicallyscalable: whether its guests may be resized while they run
    bootable: whether machines may start from it
    arch: x86_64 or aarch64
    details: free key-value pairs, in place of those before
    cleanupdetails: whether to forget all of them
    sortkey: its place in lists, the lowest first
    isrouting: not supported; false is accepted
    forceupdateostype: accepted; the operating system can always be changed
    """
    absent(isrouting=isrouting)
    iso_alone(id)
    changes = {
        "name": name,
        "display_text": displaytext,
        "os_type_id": ostypeid and ostypeid.id,
        "password_enabled": passwordenabled,
        "ssh_key_enabled": sshkeyenabled,
        "requires_hvm": requireshvm,
        "dynamically_scalable": isdynamicallyscalable,
        "bootable": bootable,
        "arch": one_of("arch", arch, ARCHITECTURES),
        "details": renewed(details, cleanupdetails),
        "sort_key": sortkey,
    }
    assign(id, changes)
    ctx.describe(f"changing ISO {id.name}")
    return id


@command("deleteIso", roles=EVERYONE, event="ISO.DELETE")
def delete(ctx: Context, id: Operate[Template], zoneid: Use[Zone] | None = None) -> Accepted:
    """Delete an ISO, of one zone or of all. It must be in no machine's drive.

    id: the ISO
    zoneid: of this zone alone
    """
    iso_alone(id)
    names = machines_with(ctx, Vm.iso_id == id.id, zoneid)
    if names:
        raise InUse(f"the ISO {id.name} is in the drive of {names}: take it out with detachIso first")
    ctx.describe(f"deleting ISO {id.name}")
    return remove(ctx, id, zoneid)
