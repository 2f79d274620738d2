"""What this installation can do, told to clients that ask before they show something."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.scopes import of_account, of_domain
from mgmt_server.model.settings import Scope, Setting, settings
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.zone import Zone
from mgmt_server.resources.account.neighbours import SEEN as NEIGHBOURS_SEEN
from mgmt_server.resources.apilimit.limits import ENABLED as LIMITED
from mgmt_server.resources.apilimit.limits import INTERVAL, MOST
from mgmt_server.resources.template.rules import PUBLIC

SIZES = {"custom.diskoffering.size.min": 1, "custom.diskoffering.size.max": 1024}  # GiB, where nothing else is set
PAGE = Setting("default.ui.page.size", "Rows that a web client shows on a page", least=1, most=500)
VERSION_TOLD = Setting(
    "expose.cloudstack.version.api.list.capabilities", "Whether listCapabilities tells the protocol's release"
)
PROTOCOL = "4.22.1.0"  # the release whose interface clients find here


def _flag(name: str, *scopes: Scope) -> bool:
    """What a setting says, wherever it is declared; false for what this version does not have."""
    return name in settings and settings[name].flag(*scopes)


def _size(name: str) -> int:
    return settings[name].number() if name in settings else SIZES[name]


@command("listCapabilities", roles=EVERYONE, key="capability", reads=True)
def list_capabilities(ctx: Context) -> dict[str, Any]:
    """Tell what this installation can do, and what users may."""
    account = of_account(ctx.session, ctx.caller.account_id)
    admin = ctx.caller.role in ADMINS  # may what settings keep from users
    groups = select(Zone.id).where(Zone.security_groups, Zone.removed.is_(None), Zone.usable_by(ctx.caller))
    return {
        **({"cloudstackversion": PROTOCOL} if VERSION_TOLD.flag() else {}),
        "securitygroupsenabled": ctx.session.scalar(groups.limit(1)) is not None,
        "userpublictemplateenabled": PUBLIC.flag(),
        "defaultuipagesize": PAGE.number(),
        "customdiskofferingminsize": _size("custom.diskoffering.size.min"),
        "customdiskofferingmaxsize": _size("custom.diskoffering.size.max"),
        "customhypervisordisplayname": "Custom",
        "supportELB": "false",
        "dynamicrolesenabled": True,
        "dynamicscalingenabled": _flag("enable.dynamic.scale.vm"),
        "projectinviterequired": _flag("project.invite.required"),
        "allowusercreateprojects": _flag("allow.user.create.projects"),
        "regionsecondaryenabled": False,
        "kvmsnapshotenabled": _flag("kvm.snapshot.enabled"),
        "snapshotshowchainsize": _flag("snapshot.show.chain.size"),
        "allowuserviewdestroyedvm": admin or _flag("allow.user.view.destroyed.vm", *account),
        "allowuserexpungerecovervm": admin or _flag("allow.user.expunge.recover.vm", *account),
        "allowuserexpungerecovervolume": admin or _flag("allow.user.expunge.recover.volume", *account),
        "allowuserviewalldomainaccounts": NEIGHBOURS_SEEN.flag(*of_domain(ctx.session, ctx.caller.domain_id)),
        "allowuserforcestopvm": admin or _flag("allow.user.force.stop.vm", *account),
        **({"apilimitinterval": INTERVAL.number(), "apilimitmax": MOST.number()} if LIMITED.flag() else {}),
        "kubernetesserviceenabled": False,
        "kubernetesclusterexperimentalfeaturesenabled": False,
        "instancesstatsretentiontime": 0,
        "instancesstatsuseronly": False,
        "instancesdisksstatsretentionenabled": False,
        "instancesdisksstatsretentiontime": 0,
        "instanceleaseenabled": _flag("instance.lease.enabled"),
        "additionalconfigenabled": _flag("enable.additional.vm.configuration", *account),
    }
