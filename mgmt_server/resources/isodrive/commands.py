"""The drives of machines: discs in, discs out."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.resources.isodrive import flows
from mgmt_server.resources.isodrive.drive import source_of
from mgmt_server.resources.template.rules import iso_alone
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.views import vm_view


@command("attachIso", roles=EVERYONE, answers=vm_view, event="ISO.ATTACH")
def attach(ctx: Context, id: Use[Template], virtualmachineid: Operate[Vm], forced: bool = False) -> Accepted:
    """Put an ISO into a machine's drive, while it runs or for its next start.

    id: the ISO
    virtualmachineid: the machine
    forced: whether to put it in place of another one that is in the drive
    """
    iso_alone(id)
    only_users(virtualmachineid)
    flows.check(ctx.session, virtualmachineid, id.id, forced)
    source_of(ctx.session, id.id, virtualmachineid.zone_id)
    ctx.describe(f"attaching ISO {id.name} to machine {virtualmachineid.display_name}")
    return ctx.start(flows.change, virtualmachineid, id.id, forced)


@command("detachIso", roles=EVERYONE, answers=vm_view, event="ISO.DETACH")
def detach(ctx: Context, virtualmachineid: Operate[Vm], forced: bool = False) -> Accepted:
    """Take the ISO out of a machine's drive.

    virtualmachineid: the machine
    forced: accepted; a guest that has locked the drive does not keep the disc in any case
    """
    only_users(virtualmachineid)
    if virtualmachineid.iso_id is None:
        raise InvalidValue(flows.NOTHING_IN)
    ctx.describe(f"detaching the ISO of machine {virtualmachineid.display_name}")
    return ctx.start(flows.change, virtualmachineid, None, forced)
