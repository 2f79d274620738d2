"""The roles with rules that come with an installation: to look without touching, and to lend a hand."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import Role, RolePermission
from mgmt_server.model.tenancy import ADMIN, USER

ORDER = 2
LOOK = (
    "list*",
    "!getUploadParamsFor*",
    "get*",
    "cloudianIsEnabled",
    "queryAsyncJobResult",
    "quotaIsEnabled",
    "quotaTariffList",
    "quotaSummary",
    "quotaBalance",
    "quotaStatement",
    "quotaCreditsList",
    "setupUserTwoFactorAuthentication",
    "validateUserTwoFactorAuthenticationCode",
)
RUN = (
    "startVirtualMachine",
    "stopVirtualMachine",
    "rebootVirtualMachine",
    "startKubernetesCluster",
    "stopKubernetesCluster",
    "createVolume",
    "attachVolume",
    "detachVolume",
    "uploadVolume",
    "attachIso",
    "detachIso",
    "registerTemplate",
    "registerIso",
)
CARE = (
    "prepareHostForMaintenance",
    "cancelHostMaintenance",
    "enableStorageMaintenance",
    "cancelStorageMaintenance",
    "createServiceOffering",
    "createDiskOffering",
    "createNetworkOffering",
    "createVPCOffering",
)
UPLOAD = ("getUploadParamsFor*",)
MAY_UPLOAD = tuple(rule for rule in LOOK if rule != "!getUploadParamsFor*")
# A role of type User never allows more than its type, so that list* means what users may list.
ROLES = (
    ("Read-Only Admin - Default", ADMIN, "Default read-only admin role", LOOK),
    ("Read-Only User - Default", USER, "Default read-only user role", LOOK),
    ("Support Admin - Default", ADMIN, "Default support admin role", LOOK + CARE + RUN),
    ("Support User - Default", USER, "Default support user role", MAY_UPLOAD + RUN + UPLOAD),
)


def seed(tx: Session) -> None:
    """Adds those that are not there, to a database of an earlier version too."""
    there = set(tx.scalars(select(Role.name).where(Role.is_default)))
    for name, kind, description, rules in ROLES:
        if name in there:
            continue
        role = Role(name=name, type=kind, description=description, is_default=True)
        tx.add(role)
        tx.flush()
        for position, rule in enumerate((*rules, "!*")):
            tx.add(
                RolePermission(
                    role_id=role.id,
                    position=position,
                    rule=rule.lstrip("!"),
                    permission="deny" if rule.startswith("!") else "allow",
                )
            )
    tx.flush()
