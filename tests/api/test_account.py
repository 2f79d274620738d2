"""Accounts over the wire: made, changed, shut out, listed."""

import pytest
from sqlalchemy import select

from mgmt_server.db import write
from mgmt_server.model.account import Account
from mgmt_server.model.limit import ResourceCount
from tests.cloud import Refused
from tests.simulated import build


def test_who_is_listed_to_whom(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("deep", domain="/a/b/")
    cloud.account("bob", domain="/c/")
    seen = {
        user: sorted(u["username"] for u in cloud.ask("listUsers", user=user, listall=True)["user"])
        for user in ("admin", "boss", "ann")
    }
    assert seen == {
        "admin": ["admin", "ann", "bob", "boss", "deep"],
        "boss": ["ann", "boss", "deep"],
        "ann": ["ann"],
    }
    assert [u["username"] for u in cloud.ask("listUsers")["user"]] == ["admin"]
    accounts = cloud.ask("listAccounts", user="boss", listall=True)["account"]
    assert sorted(a["name"] for a in accounts) == ["ann", "boss", "deep"]
    (ann,) = cloud.ask("listAccounts", listall=True, name="ann")["account"]
    assert (ann["domainpath"], ann["vmtotal"], ann["vmlimit"], ann["rolename"]) == ("ROOT/a", 0, "20", "User")
    assert [u["username"] for u in ann["user"]] == ["ann"]
    with pytest.raises(Refused) as no:
        cloud.ask("listAccounts", user="bob", id=ann["id"])
    assert "Invalid parameter id" in no.value.text


def test_users_see_who_else_is_in_their_domain_where_the_setting_says_so(cloud):
    for name, kind, domain in (("ann", 0, "/a/"), ("eve", 0, "/a/"), ("boss", 2, "/a/"), ("deep", 0, "/a/b/")):
        cloud.account(name, kind=kind, domain=domain)
    cloud.account("bob", domain="/c/")
    domains = {d["name"]: d["id"] for d in cloud.ask("listDomains", listall=True)["domain"]}
    eve = account(cloud, "eve")
    setting = "allow.user.view.all.domain.accounts"

    def names(user="ann", **sent):
        return sorted(a["name"] for a in cloud.ask("listAccounts", user=user, **sent).get("account", []))

    assert names() == names(listall=True) == ["ann"]
    cloud.ask("updateConfiguration", name=setting, value="true", domainid=domains["a"])
    assert names() == names(listall=True) == names(domainid=domains["a"]) == ["ann", "boss", "eve"]
    assert names("bob", listall=True) == ["bob"] and names("deep") == ["deep"]
    mine, _, hers = sorted(cloud.ask("listAccounts", user="ann")["account"], key=lambda a: a["name"])
    assert mine["vmlimit"] == "20" and mine["user"]
    assert hers.keys() == {"id", "name", "accounttype", "domainid", "domain", "domainpath"}
    # who they are, and nothing by which to act on them or to learn more
    assert names(state="enabled") == ["ann"] and names(keyword="ev") == ["eve"]
    assert [u["username"] for u in cloud.ask("listUsers", user="ann", listall=True)["user"]] == ["ann"]
    for command, sent in (
        ("listAccounts", {"id": eve["id"]}), ("listAccounts", {"account": "eve", "domainid": domains["a"]}),
        ("listAccounts", {"domainid": domains["c"]}),
        ("listVirtualMachines", {"account": "eve", "domainid": domains["a"]}),
    ):  # fmt: skip
        assert refused(cloud, command, user="ann", **sent).status == 431
    told = [cloud.ask("listCapabilities", user=u)["capability"] for u in ("ann", "bob")]
    assert [t["allowuserviewalldomainaccounts"] for t in told] == [True, False]


def person(name, **more):
    return {
        "username": name,
        "password": "a-Pass-word-1",
        "firstname": "F",
        "lastname": "L",
        "email": "f@example.org",
    } | more


def refused(cloud, command, **sent):
    with pytest.raises(Refused) as no:
        cloud.ask(command, **sent)
    return no.value


def account(cloud, name, **more):
    return cloud.ask("listAccounts", listall=True, name=name, **more)["account"][0]


def test_an_account_is_made_with_its_first_user(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    uuid = "6f1d1f5e-6f56-4a2e-9a0d-333333333333"
    sent = person("ann", accounttype=0, domainid=domain, account="sales")
    made = cloud.ask(
        "createAccount", networkdomain="sales.example.org", accountid=uuid, timezone="Europe/Zurich",
        **sent, **{"accountdetails[0].cost": "42"},
    )["account"]  # fmt: skip
    assert (made["id"], made["name"], made["accounttype"], made["rolename"]) == (uuid, "sales", 0, "User")
    assert (made["domainpath"], made["networkdomain"], made["accountdetails"]) == (
        "ROOT/a", "sales.example.org", {"cost": "42"},
    )  # fmt: skip
    assert [(u["username"], u["timezone"]) for u in made["user"]] == [("ann", "Europe/Zurich")]
    assert (made["state"], made["vmlimit"], made["vmtotal"], made["vmavailable"]) == ("enabled", "20", 0, "20")
    for more, told in (
        ({}, "already exists in domain a"), ({"username": "x"}, "The account sales already exists"),
        ({"username": "x", "account": "y", "accountid": uuid}, "is taken"),
        ({"username": "x", "account": "y", "accounttype": 9}, "accounttype=9"),
        ({"username": "x", "account": "y", "userid": "no-uuid"}, "no UUID"),
        ({"username": "x", "account": "y", "networkdomain": "-"}, "no domain name"),
    ):  # fmt: skip
        assert told in refused(cloud, "createAccount", **sent | more).text
    del sent["accounttype"]
    assert "Neither" in refused(cloud, "createAccount", **sent | {"username": "x", "account": "y"}).text
    told = {e["type"]: e["description"] for e in cloud.ask("listEvents")["event"]}
    assert told["ACCOUNT.CREATE"] == "creating account sales in domain a" and "ann" in told["USER.CREATE"]


def test_nobody_makes_what_may_do_more(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    roles = {r["name"]: r["id"] for r in cloud.ask("listRoles")["role"]}
    assert "reaches further" in refused(cloud, "createAccount", user="boss", accounttype=1, **person("x")).text
    assert refused(cloud, "createAccount", user="boss", roleid=roles["Root Admin"], **person("x")).status in (431, 432)
    made = cloud.ask("createAccount", user="boss", roleid=roles["Domain Admin"], **person("x"))["account"]
    assert (made["accounttype"], made["domainpath"]) == (2, "ROOT/a")
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    assert refused(cloud, "createAccount", user="boss", accounttype=0, domainid=domain, **person("y")).status == 431
    no = refused(cloud, "updateAccount", user="boss", id=made["id"], roleid=roles["Root Admin"])
    assert no.status in (431, 432)
    boss = account(cloud, "boss")["id"]
    assert "your own" in refused(cloud, "updateAccount", user="boss", id=boss, roleid=roles["User"]).text


def test_an_account_is_changed(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("bob", domain="/a/")
    roles = {r["name"]: r["id"] for r in cloud.ask("listRoles")["role"]}
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    changed = cloud.ask("updateAccount", account="ann", domainid=domain, newname="anna")["account"]
    assert changed["name"] == "anna"
    sent = {"roleid": roles["Domain Admin"], "networkdomain": "a.example.org", "accountdetails[0].k": "v"}
    changed = cloud.ask("updateAccount", id=changed["id"], **sent)["account"]
    assert (changed["rolename"], changed["accounttype"], changed["networkdomain"], changed["accountdetails"]) == (
        "Domain Admin", 2, "a.example.org", {"k": "v"},
    )  # fmt: skip
    assert "networkdomain" not in cloud.ask("updateAccount", id=changed["id"], networkdomain="")["account"]
    assert cloud.raw("ann", "createDomain", name="below")[0] == 200, "its users may do more at once"
    assert "already exists" in refused(cloud, "updateAccount", id=changed["id"], newname="bob").text
    assert "which account" in refused(cloud, "updateAccount", newname="x").text
    assert "Invalid parameter account" in refused(cloud, "updateAccount", account="eve", newname="x").text


def test_a_disabled_account_is_out_and_its_machines_rest(cloud):
    zone = build()
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    cloud.account("ann", domain="/a/")
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
    vm = cloud.job("deployVirtualMachine", user="ann", **sent)["virtualmachine"]["id"]
    ann = account(cloud, "ann")

    def state():
        return cloud.ask("listVirtualMachines", id=vm)["virtualmachine"][0]["state"]

    assert (ann["vmrunning"], ann["vmstopped"], ann["vmtotal"], ann["vmavailable"]) == (1, 0, 1, "19")
    locked = cloud.job("disableAccount", id=ann["id"], lock=True)["account"]
    assert (locked["state"], state(), cloud.raw("ann", "listZones")[0]) == ("locked", "Running", 200)
    assert "enable it first" in refused(cloud, "deployVirtualMachine", user="ann", **sent).text
    assert cloud.ask("enableAccount", id=ann["id"])["account"]["state"] == "enabled"
    assert cloud.ask("lockAccount", account="ann", domainid=ann["domainid"])["account"]["state"] == "locked"
    disabled = cloud.job("disableAccount", account="ann", domainid=ann["domainid"], lock=False)["account"]
    assert (disabled["state"], state(), cloud.raw("ann", "listZones")[0]) == ("disabled", "Stopped", 401)
    ann = account(cloud, "ann", state="disabled")
    assert (ann["vmrunning"], ann["vmstopped"]) == (0, 1)
    cloud.ask("enableAccount", id=ann["id"])
    assert (state(), cloud.raw("ann", "listZones")[0]) == ("Stopped", 200)


def test_nobody_is_shut_out_who_may_not_be(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("root", kind=1, domain="/a/")
    admin, boss, root = (account(cloud, name)["id"] for name in ("admin", "boss", "root"))
    for user, who, told in (
        ("admin", admin, "came with"), ("boss", boss, "their own account"), ("boss", root, "may do more"),
    ):  # fmt: skip
        for lock in (True, False):
            assert told in refused(cloud, "disableAccount", user=user, id=who, lock=lock).text


def test_a_default_zone_is_noted(cloud):
    zone = build()["zone"]
    cloud.account("ann", domain="/a/")
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    sent = {"account": "ann", "domainid": domain, "zoneid": zone}
    assert cloud.job("markDefaultZoneForAccount", **sent)["account"]["defaultzoneid"] == zone
    assert account(cloud, "ann")["defaultzoneid"] == zone


def test_tags_in_offerings_are_for_whom_the_setting_lets(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    boss, admin = account(cloud, "boss")["id"], account(cloud, "admin")["id"]
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]

    def allowed(one):
        return cloud.ask("isAccountAllowedToCreateOfferingsWithTags", id=one)["isallowed"]["isallowed"]

    sent = {"name": "d", "displaytext": "d", "disksize": 1, "domainid": domain, "tags": "ssd"}
    assert (allowed(boss), allowed(admin)) == (False, True)
    assert "allow.domain.admins" in refused(cloud, "createDiskOffering", user="boss", **sent).text
    cloud.ask(
        "updateConfiguration", name="allow.domain.admins.to.create.tagged.offerings", accountid=boss, value="true"
    )
    assert allowed(boss) and cloud.ask("createDiskOffering", user="boss", **sent)["diskoffering"]["tags"] == "ssd"


def test_how_much_is_told_of_an_account(cloud):
    cloud.account("ann", domain="/a/")
    brief, whole = account(cloud, "ann", details="min"), account(cloud, "ann", details="all,resource")
    assert "vmtotal" not in brief and "vmrunning" not in brief and whole["cpulimit"] == "40"
    for absent in ("backup", "backupstorage", "bucket", "gpu", "objectstorage"):
        assert f"{absent}total" not in brief
        told = whole[f"{absent}limit"], whole[f"{absent}total"], whole[f"{absent}available"]
        assert told == ("Unlimited", 0, "Unlimited")
    assert brief == {k: v for k, v in whole.items() if k in brief}
    assert "details" in refused(cloud, "listAccounts", details="much").text
    assert cloud.ask("listAccounts", listall=True, iscleanuprequired=True) == {}
    cloud.ask("updateConfiguration", name="resource.limit.host.tags", value="gold,silver")

    def count(tx):
        number = tx.scalar(select(Account.id).where(Account.name == "ann"))
        for tag, most in (("gold", 8), ("silver", None)):
            key = f"account:{number}/{tag}"
            tx.add(ResourceCount(key=key, account_id=number, tag=tag, cpu=3, most_cpu=most))

    write(count)
    both = {t["tag"]: (t["total"], t["limit"], t["available"]) for t in account(cloud, "ann")["taggedresources"]}
    assert both == {"gold": (3, 8, 5), "silver": (3, -1, -1)}
    assert [t["tag"] for t in account(cloud, "ann", tag="gold")["taggedresources"]] == ["gold"]
