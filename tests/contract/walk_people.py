"""What changes people, projects, rules and notes: each such command at least once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyotp

from tests.browser import PASSWORD, Browser
from tests.contract.walk import Walk
from tests.directory import ADMIN, ADMIN_PASSWORD, BASE, CLOUD, asked_by, slapd
from tests.mail import mailbox

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user@host"
NAMED = {"email": "a@b.example", "firstname": "A", "lastname": "B", "password": PASSWORD}
ALLOW = {"rule": "list*", "permission": "allow"}


def person(walk: Walk, name: str, **more: Any) -> dict[str, Any]:
    return walk("createAccount", username=name, accounttype=0, **NAMED, **more)


def tenants(walk: Walk) -> None:
    other = walk("createDomain", name="other")["id"]
    sub = walk("createDomain", name="sub")["id"]
    walk("moveDomain", domainid=sub, parentdomainid=other)
    member, second = person(walk, "member", domainid=other), person(walk, "second", domainid=other)
    extra = walk("createUser", username="extra", account="member", domainid=other, **NAMED)
    walk("moveUser", id=extra["id"], accountid=second["id"])
    walk("lockAccount", account="second", domainid=other)
    walk("enableAccount", id=second["id"])
    walk("isAccountAllowedToCreateOfferingsWithTags", id=member["id"])
    walk("markDefaultZoneForAccount", account="member", domainid=other, zoneid=walk.ids["zone"])
    walk("updateConfiguration", name="api.throttling.max", value="1000000")
    walk("updateConfiguration", name="api.throttling.enabled", value="true")
    walk("resetApiLimit", account=member["id"])
    walk("updateResourceLimit", resourcetype=0, domainid=other, max=50)
    walk("updateResourceCount", domainid=other)
    role = walk("importRole", name="brought", type="User", **{f"rules[0].{k}": v for k, v in ALLOW.items()})["id"]
    walk("disableRole", id=role)
    walk("enableRole", id=role)
    walk("registerSSHKeyPair", name="known", publickey=KEY)


def notes(walk: Walk) -> None:
    zone = walk.ids["zone"]
    note = walk("addAnnotation", entitytype="ZONE", entityid=zone, annotation="mind the step")["id"]
    walk("updateAnnotationVisibility", id=note, adminsonly=True)
    walk("removeAnnotation", id=note)
    category = walk("addOsCategory", name="Mine")["id"]
    walk("updateOsCategory", id=category, name="Ours")
    walk("deleteOsCategory", id=category)
    group = walk("createInstanceGroup", name="others")["id"]
    walk("updateInstanceGroup", id=group, name="more")
    walk("deleteInstanceGroup", id=group)
    walk("generateAlert", description="again", name="SAID", type=99)
    alert = walk.cloud.ask("listAlerts")["alert"][0]["id"]
    walk("archiveAlerts", ids=alert)
    walk("deleteAlerts", ids=alert)
    walk("archiveEvents", type="DOMAIN.CREATE")
    walk("deleteEvents", type="DOMAIN.CREATE")


def projects(walk: Walk) -> None:
    visitor = person(walk, "visitor")
    walk.ids["visitor"], user = visitor["id"], visitor["user"][0]["id"]
    walk("registerUserKeys", id=user)
    project = {"projectid": walk("createProject", name="p", displaytext="p")["id"]}
    here = project["projectid"]
    walk("updateProject", id=here, displaytext="of ours")
    role = walk("createProjectRole", name="reader", **project)["id"]
    rule = walk("createProjectRolePermission", projectroleid=role, **ALLOW, **project)["id"]
    change = {"projectrolepermissionid": rule, "permission": "deny"}
    walk("updateProjectRolePermission", projectroleid=role, **change, **project)
    walk("deleteProjectRolePermission", id=rule, **project)
    walk("updateProjectRole", id=role, name="looker", **project)
    walk("deleteProjectRole", id=role, **project)
    walk("addAccountToProject", account="visitor", **project)
    walk("deleteAccountFromProject", account="visitor", **project)
    walk("addUserToProject", username="visitor", **project)
    walk("deleteUserFromProject", userid=user, **project)
    walk("updateConfiguration", name="project.invite.required", value="true")
    walk("addAccountToProject", account="visitor", **project)
    walk(
        "deleteProjectInvitation", id=walk.cloud.ask("listProjectInvitations", **project)["projectinvitation"][0]["id"]
    )
    walk("addAccountToProject", account="visitor", **project)
    walk("updateProjectInvitation", user="visitor", **project)
    walk("suspendProject", id=here)
    walk("activateProject", id=here)
    walk("deleteProject", id=here)


def logging_in(walk: Walk) -> None:
    """A second factor, and a password that was forgotten."""
    walk("updateConfiguration", name="enable.user.2fa", value="true")
    browser = Browser(walk.cloud)
    browser.log_in("visitor")
    secret = browser.ask("setupUserTwoFactorAuthentication", provider="totp")["setup2fa"]["secretcode"]
    browser.ask("validateUserTwoFactorAuthenticationCode", codefor2fa=pyotp.TOTP(secret).now())
    with mailbox() as box:
        settings = {
            "enabled": "true", "smtp.host": "127.0.0.1", "smtp.port": box.port, "email.sender": "cloud@example.org",
            "mail.domain.url": "https://cloud.example.org/",
        }  # fmt: skip
        for name, value in settings.items():
            walk("updateConfiguration", name=f"user.password.reset.{name}", value=value)
        nobody = Browser(walk.cloud)
        nobody.ask("forgotPassword", username="visitor")
        walk.cloud.work()
        (token,) = re.findall(r"token=([\w-]+)", box.messages[-1].get_content())
        nobody.ask("resetPassword", username="visitor", token=token, password="another horse altogether")


def directories(walk: Walk, folder: Path) -> None:
    with slapd(folder) as server:
        asked_by(walk.cloud, server)
        server_at = {"hostname": "127.0.0.1", "port": server.port}
        walk("searchLdap", query="ann")
        place = walk("createDomain", name="staff")["id"]
        linked = {"domainid": place, "ldapdomain": CLOUD, "type": "GROUP"}
        walk("linkDomainToLdap", accounttype=0, **linked)
        walk("unlinkDomainFromLdap", domainid=place)
        walk("linkAccountToLdap", account="team", admin="ann", **linked)
        walk("ldapCreateAccount", username="bob", accounttype=0)
        walk("importLdapUsers", accounttype=0, domainid=place)
        walk("deleteLdapConfiguration", **server_at)
        walk("addLdapConfiguration", **server_at)
        walk("ldapConfig", searchbase=BASE, binddn=ADMIN, bindpass=ADMIN_PASSWORD, **server_at)
        walk("ldapRemove")
