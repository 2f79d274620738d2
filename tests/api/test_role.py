"""Roles and their rules over the wire: what they allow, at once, and that nobody gains by them."""

import pytest
from sqlalchemy import select, update

from mgmt_server.api import callers
from mgmt_server.api.command import registry
from mgmt_server.api.roles import Rules
from mgmt_server.db import reading, write
from mgmt_server.errors import ApiError
from mgmt_server.model.account import Account, Role, User
from mgmt_server.model.event import Event
from mgmt_server.resources.role.rights import check_grants
from tests.cloud import Refused

DEFAULTS = [
    "Root Admin", "Resource Admin", "Domain Admin", "User", "Read-Only Admin - Default", "Read-Only User - Default",
    "Support Admin - Default", "Support User - Default",
]  # fmt: skip


def named(cloud, name):
    return cloud.ask("listRoles", name=name)["role"][0]["id"]


def give(account, role):
    """What updateAccount does in the end."""

    def change(tx):
        number = tx.scalar(select(Role.id).where(Role.uuid == role))
        tx.execute(update(Account).where(Account.name == account).values(role_id=number))

    write(change)
    callers.forget()


def may(cloud, user, command, **sent):
    status, _ = cloud.raw(user, command, **sent)
    return status != 432


def rules(cloud, role):
    return [
        (r["rule"], r["permission"]) for r in cloud.ask("listRolePermissions", roleid=role).get("rolepermission", [])
    ]


def refused(cloud, text, command, user="admin", **sent):
    with pytest.raises(Refused) as no:
        cloud.ask(command, user=user, **sent)
    assert text in no.value.text
    return no.value.status


@pytest.fixture
def role(cloud):
    return cloud.ask("createRole", name="viewers", type="User", description="look")["role"]["id"]


def test_which_roles_there_are_and_who_sees_them(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    found = cloud.ask("listRoles")["role"]
    assert [r["name"] for r in found] == DEFAULTS
    assert all(r["isdefault"] and r["ispublic"] and r["state"] == "enabled" for r in found)
    seen = [r["name"] for r in cloud.ask("listRoles", user="boss")["role"]]
    assert seen == [n for n in DEFAULTS if "Admin -" not in n and n != "Root Admin"]
    refused(cloud, "Invalid parameter id", "listRoles", user="boss", id=found[0]["id"])
    assert cloud.ask("listRoles", type="User")["count"] == 3
    assert cloud.ask("listRoles", state="disabled") == {}
    assert cloud.ask("listRoles", keyword="support")["count"] == 2
    hidden = cloud.ask("createRole", name="hidden", type="User", ispublic=False)["role"]
    assert hidden["ispublic"] is False
    assert cloud.ask("listRoles", user="boss", name="hidden") == {}


def test_a_role_is_made_changed_and_deleted(cloud, role):
    made = cloud.ask("listRoles", id=role)["role"][0]
    assert (made["name"], made["type"], made["description"], made["isdefault"]) == ("viewers", "User", "look", False)
    refused(cloud, "exists", "createRole", name="viewers", type="User")
    refused(cloud, "none of Admin", "createRole", name="x", type="Bogus")
    refused(cloud, "Neither role type nor role ID", "createRole", name="x")
    changed = cloud.ask("updateRole", id=role, name="lookers", description="d", type="DomainAdmin")["role"]
    assert (changed["name"], changed["description"], changed["type"]) == ("lookers", "d", "DomainAdmin")
    refused(cloud, "exists", "updateRole", id=role, name="User")
    cloud.ask("createRolePermission", roleid=role, rule="list*", permission="allow")
    assert cloud.ask("deleteRole", id=role) == {"success": True}
    assert cloud.ask("listRoles", name="lookers") == {}
    refused(cloud, "Invalid parameter roleid", "listRolePermissions", roleid=role)
    again = cloud.ask("createRole", name="lookers", type="User")["role"]["id"]
    assert rules(cloud, again) == []


def test_a_role_that_accounts_have_stays_and_keeps_its_type(cloud, role):
    cloud.account("ann")
    give("ann", role)
    assert refused(cloud, "Found accounts that have role in use", "deleteRole", id=role) == 531
    refused(cloud, "its type cannot be changed", "updateRole", id=role, type="Admin")
    give("ann", named(cloud, "User"))
    cloud.ask("deleteRole", id=role)


def test_default_roles_stay_as_they_are(cloud):
    for name in DEFAULTS:
        role = named(cloud, name)
        assert refused(cloud, "Default roles cannot be updated", "updateRole", id=role, name="x") == 531
        assert refused(cloud, "Default roles cannot be deleted", "deleteRole", id=role) == 531
        refused(cloud, "cannot be changed", "createRolePermission", roleid=role, rule="*", permission="allow")
        refused(cloud, "default role", "importRole", name=name, forced=True,
                **{"rules[0].rule": "*", "rules[0].permission": "allow"})  # fmt: skip
    support = named(cloud, "Support User - Default")
    first = cloud.ask("listRolePermissions", roleid=support)["rolepermission"][0]["id"]
    refused(cloud, "cannot be changed", "deleteRolePermission", id=first)
    refused(cloud, "cannot be changed", "updateRolePermission", roleid=support, ruleid=first, permission="deny")
    assert cloud.ask("updateRole", id=support, ispublic=False)["role"]["ispublic"] is False


def test_the_first_rule_that_fits_decides_and_order_is_changed(cloud, role):
    cloud.account("ann")
    give("ann", role)
    assert not may(cloud, "ann", "listZones")
    zones = cloud.ask("createRolePermission", roleid=role, rule="listZones", permission="allow", description="z")
    assert zones["rolepermission"]["rule"] == "listZones" and zones["rolepermission"]["description"] == "z"
    every = cloud.ask("createRolePermission", roleid=role, rule="LIST*", permission="deny")["rolepermission"]["id"]
    assert may(cloud, "ann", "listZones") and not may(cloud, "ann", "listVirtualMachines")
    zones = zones["rolepermission"]["id"]
    cloud.ask("updateRolePermission", roleid=role, ruleorder=f"{every},{zones}")
    assert rules(cloud, role) == [("LIST*", "deny"), ("listZones", "allow")]
    assert not may(cloud, "ann", "listZones")
    cloud.ask("updateRolePermission", roleid=role, ruleid=every, permission="allow")
    assert may(cloud, "ann", "listVirtualMachines")
    assert [a["name"] for a in cloud.ask("listApis", user="ann", name="listZones")["api"]] == ["listZones"]
    listed = {a["name"] for a in cloud.ask("listApis", user="ann")["api"]}
    assert listed == {c.name for c in registry.values() if c.name.startswith("list") and "User" in c.roles}
    cloud.ask("deleteRolePermission", id=every)
    assert rules(cloud, role) == [("listZones", "allow")] and not may(cloud, "ann", "listVirtualMachines")


def test_rules_that_are_none(cloud, role):
    made = cloud.ask("createRolePermission", roleid=role, rule="listZones", permission="allow")["rolepermission"]
    create = {"command": "createRolePermission", "roleid": role}
    assert refused(cloud, "Rule already exists", **create, rule="listzones", permission="deny") == 531
    for rule in ("not a rule!", "list.*", "a" * 101, "(x+)+$", "list\\*"):
        assert refused(cloud, "Only API names and wildcards", **create, rule=rule, permission="allow") == 431
    refused(cloud, "none of allow, deny", **create, rule="listHosts", permission="maybe")
    change = {"command": "updateRolePermission", "roleid": role}
    refused(cloud, "either ruleorder, or ruleid", **change)
    refused(cloud, "either ruleorder, or ruleid", **change, ruleorder=made["id"], permission="deny")
    refused(cloud, "go together", **change, ruleid=made["id"])
    other = cloud.ask("createRole", name="other", type="User")["role"]["id"]
    theirs = cloud.ask("createRolePermission", roleid=other, rule="x", permission="allow")["rolepermission"]["id"]
    refused(cloud, "must name each rule", **change, ruleorder=theirs)
    refused(cloud, "must name each rule", **change, ruleorder=f"{made['id']},{theirs}")
    refused(cloud, "not one of the role", **change, ruleid=theirs, permission="allow")


def test_a_role_is_imported_whole(cloud):
    sent = {"rules[0].rule": "listZones", "rules[0].permission": "allow", "rules[0].description": "zones",
            "rules[1].rule": "list*", "rules[1].permission": "DENY"}  # fmt: skip
    role = cloud.ask("importRole", name="i", type="User", description="d", **sent)["role"]["id"]
    assert rules(cloud, role) == [("listZones", "allow"), ("list*", "deny")]
    refused(cloud, "forced=true", "importRole", name="i", type="User", **sent)
    again = {"rules[0].rule": "get*", "rules[0].permission": "allow"}
    assert cloud.ask("importRole", name="i", forced=True, **again)["role"]["id"] == role
    assert rules(cloud, role) == [("get*", "allow")]
    refused(
        cloud,
        "twice",
        "importRole",
        name="j",
        type="User",
        **again | {"rules[1].rule": "GET*", "rules[1].permission": "deny"},
    )
    refused(cloud, "of which the first two", "importRole", name="j", type="User", **{"rules[0].rule": "x"})
    refused(cloud, "type is missing", "importRole", name="j", **again)
    refused(cloud, "missing parameter rules", "importRole", name="j", type="User")
    assert cloud.ask("listRoles", name="j") == {}


def test_a_role_gets_the_rules_of_another(cloud):
    for source, first in (("Root Admin", [("*", "allow")]), ("Support User - Default", [("list*", "allow")])):
        made = cloud.ask("createRole", name=f"like {source}", roleid=named(cloud, source))["role"]
        assert rules(cloud, made["id"])[:1] == first
    like = cloud.ask("createRole", name="like user", roleid=named(cloud, "User"))["role"]
    assert like["type"] == "User"
    cloud.account("ann")
    before = {a["name"] for a in cloud.ask("listApis", user="ann")["api"]}
    give("ann", like["id"])
    assert {a["name"] for a in cloud.ask("listApis", user="ann")["api"]} == before
    refused(cloud, "is of type User", "createRole", name="x", type="Admin", roleid=like["id"])


def test_default_roles_tell_rules_that_are_computed_and_keep_their_ids(cloud):
    user = cloud.ask("listRolePermissions", roleid=named(cloud, "User"))
    assert user == cloud.ask("listRolePermissions", roleid=named(cloud, "User"))
    told = {r["rule"] for r in user["rolepermission"]}
    assert told == {c.name for c in registry.values() if "User" in c.roles and not c.simulator_only}
    assert len({r["id"] for r in user["rolepermission"]}) == user["count"]
    assert rules(cloud, named(cloud, "Root Admin")) == [("*", "allow")]
    every = cloud.ask("listRolePermissions")["rolepermission"]
    assert {r["rolename"] for r in every} == set(DEFAULTS)


def test_read_only_means_it(cloud):
    cloud.account("ann")
    cloud.account("root2", kind=1)
    give("ann", named(cloud, "Read-Only User - Default"))
    give("root2", named(cloud, "Read-Only Admin - Default"))
    for user, type in (("ann", "User"), ("root2", "Admin")):
        listed = {a["name"] for a in cloud.ask("listApis", user=user)["api"]}
        reading_ = {
            "queryAsyncJobResult",
            "setupUserTwoFactorAuthentication",
            "validateUserTwoFactorAuthenticationCode",
        }
        assert all(n.startswith(("list", "get")) or n in reading_ for n in listed)
        assert {"listVirtualMachines", "queryAsyncJobResult"} <= listed
        assert all(type in registry[n].roles for n in listed)
        assert not may(cloud, user, "createSSHKeyPair", name="x")
    give("ann", named(cloud, "Support User - Default"))
    assert may(cloud, "ann", "stopVirtualMachine") and not may(cloud, "ann", "deployVirtualMachine")


def test_who_has_a_disabled_role_may_nothing(cloud, role):
    cloud.account("ann")
    cloud.ask("createRolePermission", roleid=role, rule="*", permission="allow")
    give("ann", role)
    assert may(cloud, "ann", "listZones")
    assert cloud.ask("disableRole", id=role) == {"success": True}
    assert not may(cloud, "ann", "listZones") and not may(cloud, "ann", "listApis")
    assert cloud.ask("listRoles", state="disabled")["role"][0]["id"] == role
    assert cloud.ask("enableRole", id=role) == {"success": True}
    assert may(cloud, "ann", "listZones")
    refused(cloud, "lock you out", "disableRole", id=named(cloud, "Root Admin"))


def test_a_role_never_allows_more_than_its_type(cloud, role):
    cloud.account("ann")
    cloud.ask("createRolePermission", roleid=role, rule="*", permission="allow")
    give("ann", role)
    assert not may(cloud, "ann", "listHosts") and not may(cloud, "ann", "createRole", name="x", type="Admin")


def test_events_of_roles(cloud, role):
    rule = cloud.ask("createRolePermission", roleid=role, rule="listZones", permission="allow")["rolepermission"]["id"]
    cloud.ask("updateRolePermission", roleid=role, ruleid=rule, permission="deny")
    cloud.ask("deleteRolePermission", id=rule)
    cloud.ask("updateRole", id=role, description="x")
    cloud.ask("disableRole", id=role)
    cloud.ask("enableRole", id=role)
    cloud.ask("deleteRole", id=role)
    with reading() as session:
        types = list(session.scalars(select(Event.type).where(Event.type.startswith("ROLE.")).order_by(Event.id)))
    assert types == [
        "ROLE.CREATE", "ROLE.PERMISSION.CREATE", "ROLE.PERMISSION.UPDATE", "ROLE.PERMISSION.DELETE", "ROLE.UPDATE",
        "ROLE.DISABLE", "ROLE.ENABLE", "ROLE.DELETE",
    ]  # fmt: skip


# --- nobody gains ---


def grants(caller, role):
    """Whether the user may give the role: the error's status or None."""
    with reading() as session:
        known = callers.by_user(session.scalar(select(User.id).where(User.username == caller)))
        row = session.scalar(select(Role).where(Role.name == role))
        try:
            check_grants(session, known.caller, row)
        except ApiError as no:
            return no.code
    return None


def test_who_may_give_which_role(cloud, role):
    for name, kind in (("ann", 0), ("boss", 2), ("res", 3), ("look", 1)):
        cloud.account(name, kind=kind, domain="/a/")
    give("look", named(cloud, "Read-Only Admin - Default"))
    cloud.ask("createRolePermission", roleid=role, rule="deploy*", permission="allow")
    table = {
        "admin": set(DEFAULTS) | {"viewers"},
        "boss": {"Domain Admin", "User", "Read-Only User - Default", "Support User - Default", "viewers"},
        "ann": {"User", "Read-Only User - Default", "Support User - Default", "viewers"},
        "look": {"Read-Only Admin - Default", "Read-Only User - Default"},
    }
    for caller, allowed in table.items():
        assert {r for r in [*DEFAULTS, "viewers"] if grants(caller, r) is None} == allowed, caller
    assert grants("res", "Root Admin") == 432
    cloud.ask("disableRole", id=role)
    assert grants("admin", "viewers") == 431


def test_who_may_change_roles_cannot_write_more_rules_than_theirs(cloud, role):
    """An administrator who may edit roles and little else."""
    clerks = cloud.ask("createRole", name="clerks", type="Admin")["role"]["id"]
    for rule in ("list*", "*Role", "*RolePermission"):
        cloud.ask("createRolePermission", roleid=clerks, rule=rule, permission="allow")
    cloud.account("clerk", kind=1)
    give("clerk", clerks)
    cloud.ask("createRolePermission", user="clerk", roleid=role, rule="listZones", permission="allow")
    for target in (clerks, role):
        refused(cloud, "that yours does not", "createRolePermission", user="clerk", roleid=target, rule="*",
                permission="allow")  # fmt: skip
    refused(cloud, "that yours does not", "createRole", user="clerk", name="x", roleid=named(cloud, "User"))
    every = {"rules[0].rule": "*", "rules[0].permission": "allow"}
    refused(cloud, "that yours does not", "importRole", user="clerk", name="x", type="User", **every)
    refused(cloud, "that yours does not", "importRole", user="clerk", name="clerks", forced=True, **every)
    deny = cloud.ask("createRolePermission", roleid=clerks, rule="deploy*", permission="deny")["rolepermission"]["id"]
    rest = [r["id"] for r in cloud.ask("listRolePermissions", roleid=clerks)["rolepermission"] if r["id"] != deny]
    last = cloud.ask("createRolePermission", roleid=clerks, rule="d*", permission="allow")["rolepermission"]["id"]
    refused(cloud, "that yours does not", "updateRolePermission", user="clerk", roleid=clerks,
            ruleorder=",".join([last, *rest, deny]))  # fmt: skip
    refused(cloud, "that yours does not", "updateRolePermission", user="clerk", roleid=clerks, ruleid=deny,
            permission="allow")  # fmt: skip
    refused(cloud, "that yours does not", "deleteRolePermission", user="clerk", id=deny)
    assert rules(cloud, clerks)[-2:] == [("deploy*", "deny"), ("d*", "allow")]


def test_parameters_for_other_roles_are_not_shown_to_a_caller(cloud):
    cloud.account("ann")
    hidden = {
        c.name: {p.name for p in c.parameters if p.roles and "User" not in p.roles}
        for c in registry.values()
        if "User" in c.roles
    }
    assert any(hidden.values())
    told = {a["name"]: {p["name"] for p in a["params"]} for a in cloud.ask("listApis", user="ann")["api"]}
    assert not [name for name, params in hidden.items() if name in told and params & told[name]]
    name = next(n for n, p in hidden.items() if p)
    (alone,) = cloud.ask("listApis", user="ann", name=name)["api"]
    assert not hidden[name] & {p["name"] for p in alone["params"]}
    assert hidden[name] <= {p["name"] for p in cloud.ask("listApis", name=name)["api"][0]["params"]}


@pytest.mark.timeout(60)  # a matcher that tries all the ways never ends
def test_a_pattern_that_matchers_choke_on():
    evil = Rules([("*a" * 49, True)])
    assert not evil("a" * 99 + "b")
