# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server in memory knows of people, their limits, tags and dedications, and of settings with scopes."""

from __future__ import annotations

import uuid

LIMITED = ("user_vm", "public_ip", "volume", "snapshot", "template", "project", "network", "vpc", "cpu", "memory")
SCOPES = ("zoneid", "clusterid", "storageid", "imagestoreuuid", "domainid", "accountid")


def page(kind, found):
    """An answer to a list command."""
    return {"count": len(found), kind: found} if found else {}


def having(rows, params, *names):
    """The rows with these parameters, as far as they were sent."""
    return [row for row in rows if all(str(row.get(name)) == params[name] for name in names if name in params)]


def extend(cloud, refused):
    """Teach a server in memory all of it."""
    for teach in (domains, accounts, users, roles, rules, projects, limits, tags, dedications, vlans, records):
        teach(cloud, refused)
    settings(cloud, refused)
    return cloud


def bear(cloud, kind, more):
    """What the server adds to a new entity of a kind; ``more`` takes the entity and the parameters."""
    born = cloud.born

    def bearing(of, entity, params):
        return {**born(of, entity, params), **(more(entity, params) if of == kind else {})}

    cloud.born = bearing


def root(cloud):
    """Id of the domain above all."""
    return next(d["id"] for d in cloud.kinds["domain"].values() if d["path"] == "ROOT")


def domains(cloud, _refused):
    """Paths follow names and places."""

    def place(domain):
        above = cloud.kinds["domain"].get(domain.get("parentdomainid"))
        domain["path"] = f"{place(above)['path']}/{domain['name']}" if above else domain["name"]
        return domain

    def replaced(change):
        def handler(params):
            answer = change(params)
            for domain in cloud.kinds["domain"].values():
                place(domain)
            answer["domain"] = dict(cloud.kinds["domain"][params.get("id", params.get("domainid"))])
            return answer

        return handler

    def move(params):
        cloud.get("domain", {"id": params["domainid"]})["parentdomainid"] = params["parentdomainid"]
        return {}

    bear(cloud, "domain", lambda entity, params: {"path": place(entity)["path"]})
    cloud.commands["updateDomain"] = replaced(cloud.commands["updateDomain"])
    cloud.commands["moveDomain"] = replaced(move)


def accounts(cloud, _refused):
    """Accounts with their states."""
    cloud.kinds["account"] = {}
    cloud.register(
        "account",
        "Accounts create update delete".split(),
        {"account": "name", "newname": "name"},
        {"state": "enabled", "accounttype": 0, "apikeyaccess": "Inherit"},
    )
    cloud.add("account", {"name": "admin", "domainid": root(cloud), "accounttype": 1, "state": "enabled"})
    cloud.commands["enableAccount"] = cloud.setter("account", "state", "enabled")

    def disable(params):
        account = cloud.get("account", params)
        account["state"] = "locked" if params["lock"] == "true" else "disabled"
        return cloud.job({"account": account})

    cloud.commands["disableAccount"] = disable


def users(cloud, _refused):
    """Users with their states."""
    bear(cloud, "user", lambda entity, params: {"state": "enabled", "apikeyaccess": "Inherit"})
    cloud.commands["enableUser"] = cloud.setter("user", "state", "enabled")
    cloud.commands["lockUser"] = cloud.setter("user", "state", "locked")
    cloud.commands["disableUser"] = cloud.setter("user", "state", "disabled", job=True)

    def move(params):
        cloud.get("user", params)["account"] = params["account"]
        return {"success": True}

    cloud.commands["moveUser"] = move


def roles(cloud, _refused):
    """Roles; what is done to their state is answered with success alone."""
    cloud.kinds["role"] = {}
    cloud.register("role", "Roles create update delete".split(), {}, {"state": "enabled", "ispublic": True})
    cloud.add("role", {"name": "User", "type": "User", "state": "enabled"})

    def bring(state):
        def handler(params):
            cloud.get("role", params)["state"] = state
            return {"success": True}

        return handler

    cloud.commands["enableRole"], cloud.commands["disableRole"] = bring("enabled"), bring("disabled")


def rules(cloud, refused):
    """The rules of roles, in order."""
    kept = cloud.kinds["rolepermission"] = {}

    def create(params):
        if having(kept.values(), params, "roleid", "rule"):
            raise refused(431, "Rule already exists for the role")
        names = ("roleid", "rule", "permission", "description")
        return {"rolepermission": cloud.add("rolepermission", {n: params[n] for n in names if n in params})}

    def update(params):
        if "ruleorder" in params:
            order = [kept.pop(ident) for ident in params["ruleorder"].split(",")]
            kept.update({rule["id"]: rule for rule in order})
        else:
            kept[params["ruleid"]]["permission"] = params["permission"]
        return {"success": True}

    def delete(params):
        del kept[params["id"]]
        return {"success": True}

    def listing(params):
        return page("rolepermission", [dict(rule) for rule in having(kept.values(), params, "roleid")])

    cloud.commands.update(
        createRolePermission=create,
        updateRolePermission=update,
        deleteRolePermission=delete,
        listRolePermissions=listing,
    )


def projects(cloud, refused):
    """Projects and their members, who have no id."""
    cloud.kinds["project"] = {}
    members = []
    cloud.register("project", "Projects create update delete jobs".split(), {}, {"state": "Active"})
    cloud.commands["activateProject"] = cloud.setter("project", "state", "Active", job=True)
    cloud.commands["suspendProject"] = cloud.setter("project", "state", "Suspended", job=True)

    def first(project, params):
        members.append({"projectid": project["id"], "account": params["account"], "role": "Admin"})
        return {"owner": [{"account": params["account"]}]}

    bear(cloud, "project", first)
    change = cloud.commands["updateProject"]

    def update(params):
        if "roletype" not in params:
            return change(params)
        found = having(members, {**params, "projectid": params["id"]}, "projectid", "account", "userid")
        if "userid" not in params:
            found = [member for member in found if "userid" not in member]
        found[0]["role"] = params["roletype"]
        return cloud.job({"project": cloud.get("project", params)})

    def add(params):
        user = next((u for u in cloud.kinds["user"].values() if u["username"] == params.get("username")), None)
        more = {"account": user["account"], "userid": user["id"], "username": user["username"]} if user else {}
        role = params.get("roletype", "Regular")
        members.append({"projectid": params["projectid"], "account": params.get("account"), "role": role, **more})
        return cloud.job({"success": True})

    def remove(params):
        found = having(members, params, "projectid", "account", "userid")
        if not found:
            raise refused(431, "no such member")
        members.remove(found[0])
        return cloud.job({"success": True})

    def listing(params):
        return page("projectaccount", having(members, params, "projectid", "account", "userid", "role"))

    cloud.commands.update(
        updateProject=update,
        addAccountToProject=add,
        addUserToProject=add,
        deleteAccountFromProject=remove,
        deleteUserFromProject=remove,
        listProjectAccounts=listing,
    )


def limits(cloud, _refused):
    """Limits: each owner has each, set or not."""
    kept = {}

    def owner(params):
        return tuple(params.get(name) for name in ("account", "domainid", "projectid"))

    def one(params, number):
        most = kept.get((owner(params), number, params.get("tag")), -1)
        more = {"tag": params["tag"]} if "tag" in params else {}
        return {"resourcetype": str(number), "resourcetypename": LIMITED[number], "max": most, **more}

    def update(params):
        number = int(params["resourcetype"])
        kept[owner(params), number, params.get("tag")] = int(params["max"])
        return {"resourcelimit": one(params, number)}

    def listing(params):
        every = [one(params, number) for number in range(len(LIMITED))]
        return page("resourcelimit", having(every, params, "resourcetype", "resourcetypename"))

    cloud.commands.update(updateResourceLimit=update, listResourceLimits=listing)


def tags(cloud, refused):
    """Tags: a key that is there cannot be put on again."""
    kept = {}

    def create(params):
        mine = kept.setdefault((params["resourcetype"], params["resourceids"]), {})
        for tag in params["tags"]:
            if tag["key"] in mine:
                raise refused(431, f"tag {tag['key']} already on the resource")
            mine[tag["key"]] = tag["value"]
        return cloud.job({"success": True})

    def delete(params):
        for tag in params["tags"]:
            del kept[params["resourcetype"], params["resourceids"]][tag["key"]]
        return cloud.job({"success": True})

    def listing(params):
        every = [
            {"resourcetype": kind, "resourceid": ident, "key": key, "value": value}
            for (kind, ident), mine in kept.items()
            for key, value in mine.items()
        ]
        return page("tag", having(every, params, "resourcetype", "resourceid", "key", "value"))

    cloud.commands.update(createTags=create, deleteTags=delete, listTags=listing)


def dedications(cloud, refused):
    """What is kept for somebody, by kind."""
    for kind in ("zone", "pod", "cluster", "host"):
        dedication(cloud, kind, refused)


def dedication(cloud, kind, refused):
    """The three commands of one kind."""
    kept, ident, word = {}, f"{kind}id", kind.capitalize()

    def dedicate(params):
        account = having(cloud.kinds["account"].values(), {"name": params.get("account"), **params}, "name", "domainid")
        made = {ident: params[ident], f"{kind}name": cloud.kinds[kind][params[ident]]["name"]}
        made["domainid"] = params["domainid"]
        if "account" in params:
            made["accountid"] = account[0]["id"]
        kept[params[ident]] = {"id": f"d-{params[ident]}", **made}
        return cloud.job({f"dedicated{kind}": kept[params[ident]]})

    def release(params):
        if params[ident] not in kept:
            raise refused(431, f"the {kind} is not dedicated")
        del kept[params[ident]]
        return cloud.job({"success": True})

    def listing(params):
        return page(f"dedicated{kind}", having(kept.values(), params, ident, "domainid"))

    cloud.commands[f"dedicate{word}"] = dedicate
    cloud.commands[f"releaseDedicated{word}"] = release
    cloud.commands[f"listDedicated{word}s"] = listing


def vlans(cloud, refused):
    """Ranges of guest VLANs; answers have numbers for places, and both ends of a single VLAN."""
    kept = {}

    def ends(text):
        first, _dash, last = text.partition("-")
        return int(first), int(last or first)

    def dedicate(params):
        first, last = ends(params["vlanrange"])
        for one in kept.values():
            low, high = ends(one["guestvlanrange"])
            if one["net"] == params["physicalnetworkid"] and low <= last and first <= high:
                raise refused(431, f"the VLANs {low} to {high} are dedicated")
        if "projectid" in params:
            project = cloud.kinds["project"][params["projectid"]]
            owner = {"projectid": project["id"], "project": project["name"], "domainid": project["domainid"]}
        else:
            owner = {name: params[name] for name in ("account", "domainid")}
        made = {"id": str(uuid.uuid4()), "guestvlanrange": f"{first}-{last}", **owner}
        kept[made["id"]] = {**made, "net": params["physicalnetworkid"]}
        return {"dedicatedguestvlanrange": shown(made)}

    def shown(one):
        return {**{name: value for name, value in one.items() if name != "net"}, "physicalnetworkid": 7, "zoneid": 7}

    def release(params):
        if kept.pop(params["id"], None) is None:
            raise refused(431, "no such range")
        return cloud.job({"success": True})

    def listing(params):
        asked = {"net" if name == "physicalnetworkid" else name: value for name, value in params.items()}
        found = having(kept.values(), asked, "id", "net", "account", "domainid", "projectid")
        return page("dedicatedguestvlanrange", [shown(one) for one in found])

    cloud.commands.update(
        dedicateGuestVlanRange=dedicate,
        releaseDedicatedGuestVlanRange=release,
        listDedicatedGuestVlanRanges=listing,
    )


def records(cloud, _refused):
    """What can only be read."""
    for kind, command, entity in (
        ("event", "listEvents", {"type": "VM.CREATE", "level": "INFO"}),
        ("event", "listEvents", {"type": "VM.START", "level": "INFO"}),
        ("alert", "listAlerts", {"name": "ALERT.MEMORY", "type": 0}),
        ("capacity", "listCapacity", {"name": "MEMORY", "type": 0}),
        ("managementserver", "listManagementServers", {"name": "one", "state": "Up"}),
    ):
        cloud.kinds.setdefault(kind, {})
        cloud.add(kind, entity)
        cloud.commands[command] = lambda params, kind=kind: cloud.listing(kind, kind, params)


def settings(cloud, refused):
    """Settings with a value of their own in a scope."""
    cloud.add("configuration", {"name": "cpu.overprovisioning.factor", "value": "1.0", "defaultvalue": "1.0"})
    kept = {}

    def scope(params):
        given = [(name, params[name]) for name in SCOPES if name in params]
        if len(given) > 1:
            raise refused(431, "a value has one scope")
        return given[0] if given else None

    def told(setting, params):
        return {**setting, "value": kept.get((setting["name"], scope(params)), setting["value"])}

    def listing(params):
        found = having(cloud.kinds["configuration"].values(), params, "name")
        return page("configuration", [told(setting, params) for setting in found])

    def update(params):
        setting = cloud.get("configuration", params)
        if scope(params):
            kept[setting["name"], scope(params)] = params["value"]
        else:
            setting["value"] = params["value"]
        return {"configuration": told(setting, params)}

    def reset(params):
        if "imagestoreid" in params:
            params["imagestoreuuid"] = params.pop("imagestoreid")
        setting = cloud.get("configuration", params)
        if scope(params):
            kept.pop((setting["name"], scope(params)), None)
        else:
            setting["value"] = setting["defaultvalue"]
        return {"configuration": told(setting, params)}

    cloud.commands.update(listConfigurations=listing, updateConfiguration=update, resetConfiguration=reset)
