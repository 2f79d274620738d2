"""Links to the content of disks."""

from __future__ import annotations

from typing import Annotated

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.transfer.links import check_extraction
from mgmt_server.resources.volume import extract
from mgmt_server.resources.volume.locks import check_state, check_user_disk, lock_of
from mgmt_server.resources.volume.views import extracted_view


@command("extractVolume", roles=EVERYONE, answers=extracted_view, event="VOLUME.EXTRACT", unsupported=("url",))
def extract_volume(ctx: Context, id: Operate[Volume], zoneid: Use[Zone], mode: Annotated[str, Length(20)]) -> Accepted:
    """Make a link from which a disk's content can be fetched for some time. A running machine's disk is taken as it is.

    id: the disk
    zoneid: its zone
    mode: HTTP_DOWNLOAD
    """
    check_extraction(mode)
    if zoneid.id != id.zone_id:
        raise InvalidValue(f"The disk {id.name} is in another zone than {zoneid.name}")
    check_user_disk(ctx.session, id)
    check_state(id, ("Ready", "Uploaded"), "there is nothing to download of it")
    template = ctx.session.get(Template, id.template_id) if id.template_id is not None else None
    if template is not None and not template.extractable and not ctx.caller.is_root:
        raise InvalidValue(f"The disk {id.name} was made from the template {template.name}, which is not extractable")
    ctx.describe(f"making a link to disk {id.name}")
    return ctx.start(extract.extract, id, id.vm_id, lock=lock_of(id))
