"""Links to the images of templates and ISOs, and forms that send them."""

from __future__ import annotations

from typing import Annotated, Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Use
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.checksum import digest_of
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.template import direct
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.template.adding import add, store_for
from mgmt_server.resources.template.rules import (
    ARCHITECTURES,
    NO_HYPERVISOR,
    check_type,
    check_visibility,
    format_of,
    hypervisor_of,
    iso_alone,
    template_alone,
)
from mgmt_server.resources.templatetransfer import flows
from mgmt_server.resources.templatetransfer.views import iso_link_view, template_link_view
from mgmt_server.resources.transfer.links import check_extraction
from mgmt_server.resources.transfer.tickets import make_ticket

Text = Annotated[str, Length(4096)]


def _extract(ctx: Context, template: Template, mode: str, zone: Zone | None) -> Accepted:
    check_extraction(mode)
    direct.refuse(template, "extracted")
    if not template.extractable and not ctx.caller.is_root:
        raise InvalidValue(f"{template.name} is not extractable: its owner can change that (isextractable)")
    zone_id = zone.id if zone is not None else None
    flows.ready(ctx.session, template, zone_id)
    ctx.describe(f"making a link to {template.name}")
    holder = flows.Holder(ctx.caller.account_id, ctx.caller.domain_id)
    return ctx.start(flows.extract, template, zone_id, holder, owner=holder)


@command("extractTemplate", roles=EVERYONE, answers=template_link_view, event="TEMPLATE.EXTRACT", unsupported=("url",))
def extract_template(
    ctx: Context, id: Use[Template], mode: Annotated[str, Length(20)], zoneid: Use[Zone] | None = None
) -> Accepted:
    """Make a link from which a template's image can be fetched for some time, by whoever has the link.

    id: the template; it must be extractable
    mode: HTTP_DOWNLOAD
    zoneid: from the storage of this zone
    """
    return _extract(ctx, template_alone(id), mode, zoneid)


@command("extractIso", roles=EVERYONE, answers=iso_link_view, event="ISO.EXTRACT", unsupported=("url",))
def extract_iso(
    ctx: Context, id: Use[Template], mode: Annotated[str, Length(20)], zoneid: Use[Zone] | None = None
) -> Accepted:
    """Make a link from which an ISO can be fetched for some time, by whoever has the link.

    id: the ISO; it must be extractable
    mode: HTTP_DOWNLOAD
    zoneid: from the storage of this zone
    """
    return _extract(ctx, iso_alone(id), mode, zoneid)


@command("getUploadParamsForTemplate", roles=EVERYONE, key="getuploadparams")
def upload_template(
    ctx: Context,
    name: str,
    format: str,
    hypervisor: str,
    zoneid: Use[Zone],
    displaytext: Text | None = None,
    ostypeid: Use[OsType] | None = None,
    checksum: str | None = None,
    ispublic: bool = False,
    isfeatured: bool = False,
    isextractable: bool = False,
    passwordenabled: bool = False,
    sshkeyenabled: bool = False,
    requireshvm: bool = True,
    isdynamicallyscalable: bool = False,
    arch: str | None = None,
    bits: int | None = None,
    details: dict[str, str] | None = None,
    templatetag: str | None = None,
    templatetype: str | None = None,
    isrouting: bool = False,
    deployasis: bool = False,
    forcks: bool = False,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> dict[str, Any]:
    """Register a template whose image a browser's form will send, and tell what the form needs.

    name: its name
    format: QCOW2, RAW, VHD, VHDX, VMDK or OVA; KVM hosts are given all but the first two as QCOW2
    hypervisor: KVM; Simulator for simulated hosts
    zoneid: the zone that it is for
    displaytext: what users read; the name by default
    ostypeid: the guest's operating system
    checksum: hexadecimal digest of the file, or {SHA-256}digest
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    passwordenabled: whether its guests take passwords
    sshkeyenabled: whether its guests take SSH keys
    requireshvm: whether it needs hardware virtualisation
    isdynamicallyscalable: whether its guests may be resized while they run
    arch: x86_64 or aarch64
    bits: accepted; the operating system tells
    details: free key-value pairs for the hypervisor
    templatetag: tag of the hosts that run it
    templatetype: USER, VNF for a network appliance, BUILTIN (root administrators; it counts against no limit)
    isrouting: not supported; false is accepted
    deployasis: not supported; false is accepted
    forcks: not supported; false is accepted
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    absent(deployasis=deployasis, forcks=forcks)
    whose = owner(ctx, account, domainid, projectid)
    check_visibility(ctx, whose, ispublic, isfeatured)
    type = check_type(ctx, templatetype, isrouting)
    kind = hypervisor_of(hypervisor)
    if ostypeid is None:
        raise ParameterError("Please provide a guest OS type as ostypeid: listOsTypes names them")
    columns = {
        "name": name,
        "display_text": displaytext,
        "type": type,
        "format": format_of(kind, format),
        "hypervisor": kind,
        "os_type_id": ostypeid.id,
        "public": ispublic,
        "featured": isfeatured,
        "extractable": isextractable,
        "requires_hvm": requireshvm,
        "password_enabled": passwordenabled,
        "ssh_key_enabled": sshkeyenabled,
        "dynamically_scalable": isdynamicallyscalable,
        "arch": one_of("arch", arch, ARCHITECTURES),
        "tag": templatetag,
        "details": details,
    }
    return _waiting(ctx, whose, zoneid, "Template", checksum, columns)


@command("getUploadParamsForIso", roles=EVERYONE, key="getuploadparams")
def upload_iso(
    ctx: Context,
    name: str,
    format: str,
    zoneid: Use[Zone],
    displaytext: Text | None = None,
    ostypeid: Use[OsType] | None = None,
    bootable: bool = True,
    checksum: str | None = None,
    ispublic: bool = False,
    isfeatured: bool = False,
    isextractable: bool = False,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> dict[str, Any]:
    """Register an ISO that a browser's form will send, and tell what the form needs.

    name: its name
    format: ISO
    zoneid: the zone that it is for
    displaytext: what users read; the name by default
    ostypeid: the operating system that it installs; needed where machines boot from it
    bootable: whether machines may start from it
    checksum: hexadecimal digest of the file, or {SHA-256}digest
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    whose = owner(ctx, account, domainid, projectid)
    check_visibility(ctx, whose, ispublic, isfeatured)
    one_of("format", format, ("ISO",))
    if ostypeid is None and bootable:
        raise ParameterError("Please provide a guest OS type as ostypeid (listOsTypes names them), or bootable=false")
    columns = {
        "name": name,
        "display_text": displaytext,
        "format": "ISO",
        "hypervisor": NO_HYPERVISOR,
        "os_type_id": ostypeid.id if ostypeid is not None else None,
        "bootable": bootable,
        "public": ispublic,
        "featured": isfeatured,
        "extractable": isextractable,
    }
    return _waiting(ctx, whose, zoneid, "Iso", checksum, columns)


def _waiting(
    ctx: Context, whose: Account, zone: Zone, kind: str, checksum: str | None, columns: dict[str, Any]
) -> dict[str, Any]:
    """A template that waits for its image, and the ticket to send it."""
    if checksum:
        digest_of(checksum)
    template = add(ctx, whose, checksum=checksum or None, **columns)
    templates.in_zone(ctx.session, template, zone.id)
    row = templates.on_store(ctx.session, template, store_for(ctx, zone), zone.id, "Creating")
    if row is not None:
        row.error = flows.WAITING
    ticket = make_ticket(ctx.session, flows.Holder(whose.id, whose.domain_id), kind, template.uuid)
    ctx.describe(f"waiting for the image of {template.name}")
    ctx.event(f"{kind.upper()}.CREATE", template)
    return {
        "id": template.uuid,
        "postURL": ticket.url,
        "metadata": ticket.metadata,
        "expires": ticket.expires,
        "signature": ticket.signature,
    }
