"""Templates: what machines start from."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InUse, InvalidValue, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.checksum import digest_of
from mgmt_server.resources.checks import assign, one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.template import appliance, direct
from mgmt_server.resources.template.adding import add, fetched
from mgmt_server.resources.template.changing import machines_with, remove, renewed
from mgmt_server.resources.template.rules import (
    ARCHITECTURES,
    check_host,
    check_type,
    check_visibility,
    format_of,
    hypervisor_of,
    not_system,
    template_alone,
    url_of,
    zones_of,
)
from mgmt_server.resources.template.views import template_alone_view, template_view

Url = Annotated[str, Length(2048)]
Text = Annotated[str, Length(4096)]


@command(
    "registerTemplate",
    roles=EVERYONE,
    answers=template_view,
    unsupported=("extensionid", "externaldetails"),
)
def register(
    ctx: Context,
    name: str,
    url: Url,
    format: str,
    hypervisor: str,
    displaytext: Text | None = None,
    ostypeid: Use[OsType] | None = None,
    zoneid: str | None = None,
    zoneids: list[str] | None = None,
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
    directdownload: bool = False,
    deployasis: bool = False,
    forcks: bool = False,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> list[dict[str, Any]]:
    """Register a template. The server fetches its image in the background; listTemplates tells how far it is.

    name: its name
    url: where its image is, http or https
    format: QCOW2, RAW, VHD, VHDX, VMDK or OVA; KVM hosts are given all but the first two as QCOW2
    hypervisor: KVM; Simulator for simulated hosts, whose images are not fetched
    displaytext: what users read; the name by default
    ostypeid: the guest's operating system
    zoneid: the zone that it is for; -1 for all
    zoneids: the zones that it is for; -1 alone for all
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
    directdownload: hosts fetch its image from the URL at the first use; it is on no secondary storage. QCOW2 and RAW
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
    if checksum:
        digest_of(checksum)
    if kind != "Simulator":  # whose images are never fetched
        check_host(url_of(url))
    kept = format_of(kind, format)
    if directdownload:
        direct.check(kept)
    zones, everywhere = zones_of(ctx, zoneid, zoneids)
    template = add(
        ctx,
        whose,
        name=name,
        display_text=displaytext,
        type=type,
        format=kept,
        direct_download=directdownload,
        hypervisor=kind,
        url=url_of(url),
        checksum=checksum or None,
        os_type_id=ostypeid.id,
        public=ispublic,
        featured=isfeatured,
        extractable=isextractable,
        cross_zones=everywhere,
        requires_hvm=requireshvm,
        password_enabled=passwordenabled,
        ssh_key_enabled=sshkeyenabled,
        dynamically_scalable=isdynamicallyscalable,
        arch=one_of("arch", arch, ARCHITECTURES),
        tag=templatetag,
        details=details,
    )
    ctx.describe(f"registering template {name}")
    ctx.event("TEMPLATE.CREATE", template)
    return fetched(ctx, template, zones, None, template_view)


@command(
    "updateTemplate",
    roles=EVERYONE,
    answers=template_alone_view,
    event="TEMPLATE.UPDATE",
    unsupported=("format",),
)
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
    templatetag: str | None = None,
    templatetype: str | None = None,
    isrouting: bool = False,
    forcks: bool = False,
    forceupdateostype: bool = False,
) -> Template:
    """Change what is known of a template. Machines take it at their next start.

    id: the template
    name: its new name
    displaytext: what users read
    ostypeid: the guest's operating system
    passwordenabled: whether its guests take passwords
    sshkeyenabled: whether its guests take SSH keys
    requireshvm: whether it needs hardware virtualisation
    isdynamicallyscalable: whether its guests may be resized while they run
    bootable: whether machines may start from it
    arch: x86_64 or aarch64
    details: free key-value pairs, in place of those before
    cleanupdetails: whether to forget all of them
    sortkey: its place in lists, the lowest first
    templatetag: tag of the hosts that run it
    templatetype: USER, VNF or BUILTIN
    isrouting: not supported; false is accepted
    forcks: not supported; false is accepted
    forceupdateostype: accepted; the operating system can always be changed
    """
    absent(forcks=forcks)
    template_alone(id)
    retype(ctx, id, check_type(ctx, templatetype, isrouting))
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
        "tag": templatetag,
    }
    assign(id, changes)
    ctx.describe(f"changing template {id.name}")
    return id


@command("deleteTemplate", roles=EVERYONE, event="TEMPLATE.DELETE")
def delete(
    ctx: Context,
    id: Operate[Template],
    zoneid: Use[Zone] | None = None,
    forced: bool = False,
    issystem: bool = False,
) -> Accepted:
    """Delete a template, of one zone or of all. Machines that were deployed from it keep their disks.

    id: the template
    zoneid: of this zone alone
    forced: even when machines were deployed from it
    issystem: whether a template of system VMs is meant
    """
    appliance.alone(template_alone(id), "deleted")
    if id.type == "SYSTEM" and not issystem:
        raise InvalidValue(f"{id.name} is what system VMs start from: send issystem=true if that is meant")
    names = machines_with(ctx, Vm.template_id == id.id, zoneid)
    if names and not forced:
        raise InUse(
            f"machines were deployed from {id.name} ({names}): they "
            "could not be reinstalled from it; send forced=true to delete it all the same"
        )
    ctx.describe(f"deleting template {id.name}")
    return remove(ctx, id, zoneid)


def retype(ctx: Context, template: Template, type: str | None) -> None:
    """Give a template another type; what it counts for follows."""
    if type is None or type == template.type:
        return
    not_system(appliance.alone(template, "given another type"))
    sizes = select(TemplateOnStore.physical_size).where(TemplateOnStore.template_id == template.id)
    stored = sum(ctx.session.scalars(sizes))
    counted.image_goes(ctx.session, template, stored)
    counted.template_goes(ctx.session, template)
    template.type = type
    counted.template_comes(ctx.session, template)
    counted.image_comes(ctx.session, template, stored)


def account_named(ctx: Context, template: Template, name: str) -> Account:
    """An account of the domain that a template belongs to."""
    rows = select(Account).where(
        Account.name == name, Account.domain_id == template.domain_id, Account.removed.is_(None)
    )
    found = ctx.session.scalar(rows)
    if found is None:
        raise InvalidValue(f"there is no account {name[:100]} in the template's domain: check accounts")
    return found
