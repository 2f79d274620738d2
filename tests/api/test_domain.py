"""Domains over the wire: the tree, what hangs on its paths, and what they count."""

import pytest
from sqlalchemy import select

from mgmt_server.db import Base, reading, write
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.vm import SshKeyPair
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build


def domains(cloud):
    return {d["path"]: d["id"] for d in cloud.ask("listDomains", listall=True)["domain"]}


def refused(cloud, command, *, job=False, **sent):
    with pytest.raises(Refused) as no:
        (cloud.job if job else cloud.ask)(command, **sent)
    return no.value


def used(path, type="user_vm"):
    with reading() as session:
        return counts().get(f"domain:{session.scalar(select(Domain.id).where(Domain.path == path))}/{type}/", 0)


def test_domains_and_their_children(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("deep", domain="/a/b/c/")
    domains = {d["path"]: d for d in cloud.ask("listDomains")["domain"]}
    assert set(domains) == {"ROOT", "ROOT/a", "ROOT/a/b", "ROOT/a/b/c"}
    assert (domains["ROOT/a"]["haschild"], domains["ROOT/a/b/c"]["haschild"]) == (True, False)
    assert domains["ROOT/a/b"]["parentdomainname"] == "a" and domains["ROOT/a/b"]["level"] == 2
    assert [d["name"] for d in cloud.ask("listDomains", user="boss")["domain"]] == ["a"]
    assert [d["name"] for d in cloud.ask("listDomains", user="boss", listall=True)["domain"]] == ["a", "b", "c"]
    a = domains["ROOT/a"]["id"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a)["domain"]] == ["b"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a, isrecursive=True)["domain"]] == ["b", "c"]
    with pytest.raises(Refused):
        cloud.ask("listDomainChildren", user="boss", id=domains["ROOT"]["id"])


def test_a_domain_is_made_below_another(cloud):
    made = cloud.ask("createDomain", name="sales", networkdomain="sales.example.org")["domain"]
    assert (made["path"], made["level"], made["parentdomainname"]) == ("ROOT/sales", 1, "ROOT")
    assert (made["networkdomain"], made["haschild"], made["state"]) == ("sales.example.org", False, "Active")
    below = cloud.ask("createDomain", name="north", parentdomainid=made["id"])["domain"]
    assert (below["path"], below["level"]) == ("ROOT/sales/north", 2)
    uuid = "6f1d1f5e-6f56-4a2e-9a0d-111111111111"
    assert cloud.ask("createDomain", name="known", domainid=uuid)["domain"]["id"] == uuid
    cloud.ask("createDomain", name="Übung")
    for sent, told in (
        ({"name": "sales"}, "already exists"), ({"name": "SALES"}, "already exists"), ({"name": "a/b"}, "invalid char"),
        ({"name": "Übung"}, "already exists"),
        ({"name": "other", "domainid": uuid}, "is taken"), ({"name": "x", "networkdomain": "-x-"}, "no domain name"),
    ):  # fmt: skip
        assert told in refused(cloud, "createDomain", **sent).text
    with reading() as session:
        told = list(session.scalars(select(Domain.path).where(Domain.name == "north")))
    assert told == ["/sales/north/"]


def test_administrators_of_domains_make_and_delete_those_below_their_own(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("eve", domain="/c/")
    mine = cloud.ask("createDomain", user="boss", name="team")["domain"]
    assert mine["path"] == "ROOT/a/team"
    ids = domains(cloud)
    assert (
        "entity does not exist"
        in refused(cloud, "createDomain", user="boss", name="x", parentdomainid=ids["ROOT/c"]).text
    )
    assert "your own" in refused(cloud, "deleteDomain", user="boss", id=ids["ROOT/a"]).text
    assert refused(cloud, "updateDomain", user="boss", id=mine["id"], name="x").status == 432
    assert cloud.job("deleteDomain", user="boss", id=mine["id"])["success"]
    assert "ROOT/a/team" not in domains(cloud)


def test_a_new_name_is_in_the_paths_of_all_below(cloud):
    cloud.account("boss", kind=2, domain="/a/b/")
    cloud.account("deep", domain="/a/b/c/")
    cloud.account("like", domain="/ab/")
    ids = domains(cloud)
    assert cloud.ask("updateDomain", id=ids["ROOT/a"], name="z")["domain"]["path"] == "ROOT/z"
    assert set(domains(cloud)) == {"ROOT", "ROOT/z", "ROOT/z/b", "ROOT/z/b/c", "ROOT/ab"}
    seen = cloud.ask("listAccounts", user="boss", listall=True)["account"]
    assert sorted(a["name"] for a in seen) == ["boss", "deep"]
    assert "ROOT domain" in refused(cloud, "updateDomain", id=ids["ROOT"], name="x").text
    assert "already exists" in refused(cloud, "updateDomain", id=ids["ROOT/a"], name="AB").text
    assert cloud.ask("updateDomain", id=ids["ROOT/a"], name="Z")["domain"]["path"] == "ROOT/Z"  # its own, in capitals
    changed = cloud.ask("updateDomain", id=ids["ROOT/a"], networkdomain="a.example.org")["domain"]
    assert (changed["name"], changed["networkdomain"]) == ("Z", "a.example.org")
    assert "networkdomain" not in cloud.ask("updateDomain", id=ids["ROOT/a"], networkdomain="")["domain"]


def test_a_moved_domain_takes_its_paths_scope_and_counts_along(cloud):
    zone = build()
    zone["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    for name, path in (("old", "/a/"), ("new", "/b/")):
        cloud.account(name, kind=2, domain=path)
    cloud.account("ann", domain="/a/x/y/")
    cloud.account("beth", domain="/b/deep/")
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    cloud.job("deployVirtualMachine", user="ann", name="one", **sent)
    assert [used(p) for p in ("/a/", "/a/x/", "/a/x/y/", "/b/")] == [1, 1, 1, 0]
    ids = domains(cloud)
    moved = cloud.ask("moveDomain", domainid=ids["ROOT/a/x"], parentdomainid=ids["ROOT/b/deep"])["domain"]
    assert (moved["path"], moved["level"], moved["parentdomainname"]) == ("ROOT/b/deep/x", 3, "deep")
    assert [used(p) for p in ("/a/", "/b/", "/b/deep/", "/b/deep/x/", "/b/deep/x/y/")] == [0, 1, 1, 1, 1]
    assert [a["name"] for a in cloud.ask("listAccounts", user="old", listall=True)["account"]] == ["old"]
    assert "ann" in [a["name"] for a in cloud.ask("listAccounts", user="new", listall=True)["account"]]
    cloud.job("deployVirtualMachine", user="ann", name="two", **sent)
    assert [used(p) for p in ("/a/", "/b/", "/b/deep/x/y/")] == [0, 2, 2]
    for where, told in (
        ("ROOT/b/deep", "already"), ("ROOT/a/x", "below itself"), ("ROOT/a/x/y", "below itself"),
    ):  # fmt: skip
        sent = {"domainid": ids["ROOT/a/x"], "parentdomainid": ids[where]}
        assert told in refused(cloud, "moveDomain", **sent).text
    assert "ROOT domain" in refused(cloud, "moveDomain", domainid=ids["ROOT"], parentdomainid=ids["ROOT/a"]).text
    event = cloud.ask("listEvents", type="DOMAIN.MOVE")["event"][0]["description"]
    assert event == "moving domain /a/x/ to /b/deep/"


def test_a_move_over_the_limit_of_a_new_domain_is_refused_whole(cloud):
    cloud.account("ann", domain="/a/x/")
    cloud.account("boss", kind=2, domain="/b/")

    def count(tx):
        for path in ("/a/", "/a/x/"):
            domain = tx.scalar(select(Domain.id).where(Domain.path == path))
            tx.add(ResourceCount(key=f"domain:{domain}/", domain_id=domain, volume=41))

    write(count)
    ids = domains(cloud)
    sent = {"domainid": ids["ROOT/a/x"], "parentdomainid": ids["ROOT/b"]}
    no = refused(cloud, "moveDomain", **sent)
    assert no.status == 535 and "41 more volumes" in no.text
    assert used("/a/", "volume") == 41 and "ROOT/a/x" in domains(cloud)
    cloud.ask("updateConfiguration", name="max.domain.volumes", value="50")
    assert cloud.ask("moveDomain", **sent)["domain"]["path"] == "ROOT/b/x"
    assert (used("/a/", "volume"), used("/b/", "volume")) == (0, 41)


def test_a_domain_with_something_in_it_stays(cloud):
    cloud.account("ann", domain="/a/b/")
    cloud.account("bob", domain="/a/")
    ids = domains(cloud)
    no = refused(cloud, "deleteDomain", job=True, id=ids["ROOT/a"])
    assert no.status == 530 and "accounts (bob)" in no.text and "domains (b)" in no.text
    assert cloud.ask("listDomains", id=ids["ROOT/a"])["domain"][0]["state"] == "Active"
    assert cloud.ask("createDomain", name="more", parentdomainid=ids["ROOT/a"])
    assert "ROOT domain" in refused(cloud, "deleteDomain", id=ids["ROOT"]).text


def test_cleanup_deletes_all_that_is_below(cloud):
    for name, path in (("ann", "/a/b/"), ("bob", "/a/"), ("eve", "/c/")):
        cloud.account(name, domain=path)
        cloud.ask("createSSHKeyPair", user=name, name="k")
    cloud.job("createProject", user="ann", name="p")
    ids = domains(cloud)
    assert cloud.job("deleteDomain", id=ids["ROOT/a"], cleanup=True)["success"]
    assert set(domains(cloud)) == {"ROOT", "ROOT/c"}
    assert [a["name"] for a in cloud.ask("listAccounts", listall=True)["account"]] == ["admin", "eve"]
    with reading() as session:
        gone = list(session.scalars(select(Domain.id).where(Domain.removed.is_not(None))))
        assert len(gone) == 2 and len(list(session.scalars(select(SshKeyPair.id)))) == 1
        for table in Base.metadata.sorted_tables:
            if "domain_id" in table.c and table.name not in ("event", "job"):
                rows = select(table.c.id).where(table.c.domain_id.in_(gone), table.c.removed.is_(None))
                assert not list(session.scalars(rows)), table.name
        paths = list(session.scalars(select(Domain.path).where(Domain.removed.is_not(None))))
    assert not [p for p in paths if p.startswith("/a/")]
    again = cloud.ask("createDomain", name="a")["domain"]  # the name is free, and nothing of the old one is in it
    cloud.account("boss", kind=2, domain="/a/")
    assert again["id"] != ids["ROOT/a"]
    told = {e["account"] for e in cloud.ask("listEvents", user="boss", listall=True).get("event", [])}
    assert not told & {"ann", "bob"}


def test_cleanup_takes_nobody_along_who_may_do_more(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("root", kind=1, domain="/a/b/")
    no = refused(cloud, "deleteDomain", user="boss", id=domains(cloud)["ROOT/a/b"], cleanup=True)
    assert no.status == 432 and "root may do more" in no.text


def test_networks_are_called_as_the_nearest_domain_says(cloud):
    zone = build()
    cloud.account("ann", domain="/a/b/c/")
    ids = domains(cloud)
    name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    offering = cloud.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]

    def made(name):
        sent = {"name": name, "zoneid": zone["zone"], "networkofferingid": offering}
        return cloud.ask("createNetwork", user="ann", **sent)["network"]["networkdomain"]

    assert made("one").endswith("cloud.internal")
    cloud.ask("updateDomain", id=ids["ROOT/a"], networkdomain="a.example.org")
    assert made("two") == "a.example.org"
    cloud.ask("updateDomain", id=ids["ROOT/a/b"], networkdomain="b.example.org")
    assert made("three") == "b.example.org"
    account = cloud.ask("listAccounts", listall=True, name="ann")["account"][0]["id"]
    cloud.ask("updateAccount", id=account, networkdomain="ann.example.org")
    assert made("four") == "ann.example.org"


def test_details_say_how_much_is_told(cloud):
    cloud.account("ann", domain="/a/")
    (brief,) = cloud.ask("listDomains", name="a", details="min")["domain"]
    (whole,) = cloud.ask("listDomains", name="a")["domain"]
    assert "gputotal" not in brief and (whole["gpulimit"], whole["gputotal"]) == ("Unlimited", 0)
    assert "vmtotal" not in brief and (whole["vmtotal"], whole["vmlimit"], whole["vmavailable"]) == (0, "40", "40")
    assert brief == {k: v for k, v in whole.items() if k in brief}
    assert "details" in refused(cloud, "listDomains", details="much").text
    with reading() as session:
        assert session.scalar(select(Account.id).where(Account.name == "ann"))
