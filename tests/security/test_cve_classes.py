"""What went wrong in CloudStack from 2022 to May 2026, by its number, tried here and in test_cve_*.py beside.

Thirty entries, each a test, or a line in NOT_HERE with the commands whose coming ends that.
"""

from __future__ import annotations

import ast
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from mgmt_server import install
from mgmt_server.allocation import limits
from mgmt_server.api.command import command
from mgmt_server.api.facts import of_command
from mgmt_server.db import new_uuid, reading, write
from mgmt_server.errors import LimitExceeded
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.model.network import Network
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.resources.projectinvitation import flows as invitations
from mgmt_server.web import app as web
from mgmt_server.web import origin
from tests.access.world import nothing_kept
from tests.contract.test_registry import ALL
from tests.projects import second_user
from tests.security import test_cve_images, test_cve_ports
from tests.security.source import SOURCE, modules, own

# Features that do not exist here: the test that is due when one of these commands appears
NOT_HERE = {
    "CVE-2022-35741": ("XXE in SAML", ("samlSso", "listIdps", "authorizeSamlSso")),
    "CVE-2024-41107": ("SAML answer without signature", ("samlSso", "samlSlo", "listAndSwitchSamlAccount")),
    "CVE-2025-22829": ("mail settings of any account's quota", ("quotaConfigureEmail", "quotaListEmailConfiguration")),
    "CVE-2025-26521": ("keys of the creator in a project's Kubernetes cluster", ("createKubernetesCluster",)),
    "CVE-2025-66170": ("backups of others are listed", ("listBackups",)),
    "CVE-2025-66171": ("machines are made from backups of others", ("createVMFromBackup",)),
    "CVE-2025-66172": (
        "volumes of backups of others are attached",
        ("restoreVolumeFromBackupAndAttachToVM", "restoreBackup"),
    ),
    "CVE-2025-66467": ("a deleted bucket's policy stays", ("createBucket", "deleteBucket")),
}


@pytest.mark.parametrize("number", NOT_HERE)
def test_what_does_not_exist_here_still_does_not(number):
    what, commands = NOT_HERE[number]
    come = [name for name in commands if name in ALL]
    assert not come, f"{', '.join(come)} exist now: write the test of {number} ({what}) and take it out of NOT_HERE"


def test_all_thirty_are_here():
    tested = {
        name[:20]
        for name in (*globals(), *vars(test_cve_images), *vars(test_cve_ports))
        if name.startswith("test_cve_2")
    }
    assert len(tested) + len(NOT_HERE) == 30


def like_missing(world, user, sent, name, foreign):
    """Foreign and missing are answered alike, and with an error."""
    with nothing_kept():
        theirs = world.ask(user, sent | {name: foreign})
        missing = new_uuid()
        nothing = world.ask(user, sent | {name: missing})
    assert theirs.status == nothing.status >= 400, (sent, theirs.status, nothing.status, theirs.text)
    assert theirs.text.replace(foreign, "ID") == nothing.text.replace(missing, "ID")


# --- weak secrets, origins, sessions ---


def test_cve_2022_26779_who_knows_the_clock_does_not_know_the_tokens_of_invitations(cloud, monkeypatch):
    """Two rounds at one moment of one clock, with one seed: what was made of these would repeat."""
    moment = time.time()
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: moment)
    for name in ("time_ns", "monotonic_ns", "perf_counter_ns"):
        monkeypatch.setattr(time, name, lambda: int(moment * 1e9))
    mailed = []
    monkeypatch.setattr(invitations, "send", lambda server, sender, to, subject, text: mailed.append(text))
    for place in ("a", "b"):
        cloud.account(f"owner-{place}", domain=f"/{place}/")
    said = {"invite.required": "true", "smtp.host": "127.0.0.1", "email.sender": "cloud@example.org"}
    for name, value in ((f"project.{name}", value) for name, value in said.items()):
        cloud.ask("updateConfiguration", name=name, value=value)
    for place in ("a", "b"):
        random.seed(26779)
        owner = f"owner-{place}"
        project = cloud.job("createProject", user=owner, name="alpha")["project"]["id"]
        for n in range(20):
            cloud.job("addAccountToProject", user=owner, projectid=project, email=f"{n}@example.org")
    tokens = [re.search(r"Token: +(\S+)", text)[1] for text in mailed]
    assert len(set(tokens)) == 40 and min(map(len, tokens)) >= 32
    halves = {t[:16] for t in tokens} | {t[16:] for t in tokens}
    assert len(halves) == 80, "no part of one is told by another"
    random.seed(26779)
    assert not {random.randbytes(24).hex() for _ in range(1000)} & set(tokens)


def test_cve_2022_26779_random_is_for_jitter_and_turns_alone():
    allowed = {
        "agent/client.py",
        "allocation/hosts.py",
        "allocation/planners.py",
        "allocation/addresses.py",
        "allocation/pools.py",
        "resources/snapshot/timers.py",  # which of many are tried in this round
        "resources/template/flows.py",
        "db/__init__.py",
    }
    found = {
        str(path.relative_to(SOURCE))
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "random" in [getattr(node, "module", ""), *(alias.name for alias in node.names)]
    }
    assert {name for name in found if "simulator" not in name} <= allowed


def test_cve_2024_29006_who_forwards_is_not_believed(cloud):
    forged = {"x-forwarded-for": "203.0.113.5", "x-real-ip": "203.0.113.5", "forwarded": "for=203.0.113.5"}
    assert origin.caller("198.51.100.1", forged) == "198.51.100.1"
    for name, value in (("proxy.header.verify", "true"), ("proxy.cidr", "10.9.0.0/24")):
        cloud.ask("updateConfiguration", name=name, value=value)
    assert origin.caller("198.51.100.1", forged) == "198.51.100.1"


def test_cve_2024_45462_after_logout_the_session_is_gone(cloud):
    install.give_password("a-good-long-password")
    with TestClient(web.create(simulator=True, version="t"), base_url="http://cloud") as client:
        sent = {"command": "login", "username": "admin", "password": "a-good-long-password", "response": "json"}
        key = client.post("/client/api", data=sent).json()["loginresponse"]["sessionkey"]
        cookie = client.cookies["JSESSIONID"]
        ask = {"command": "listZones", "response": "json", "sessionkey": key}
        assert client.get("/client/api", params=ask).status_code == 200
        client.post("/client/api", data={"command": "logout", "sessionkey": key})
        client.cookies.set("JSESSIONID", cookie)
        client.cookies.set("sessionkey", key)
        assert client.get("/client/api", params=ask).status_code == 401


def test_cve_2024_45693_pages_of_others_change_nothing_in_a_session(cloud):
    install.give_password("a-good-long-password")
    with TestClient(web.create(simulator=True, version="t"), base_url="http://cloud") as client:
        sent = {"command": "login", "username": "admin", "password": "a-good-long-password", "response": "json"}
        answered = client.post("/client/api", data=sent)
        assert all("SameSite=" in cookie for cookie in answered.headers.get_list("set-cookie"))
        key = answered.json()["loginresponse"]["sessionkey"]
        ask = {"command": "createSSHKeyPair", "name": "k", "response": "json", "sessionkey": key}
        for headers in ({"Origin": "http://evil"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post("/client/api", data=ask, headers=headers).status_code == 403
        assert client.post("/client/api", data=ask, headers={"Origin": "http://cloud"}).status_code == 200


# --- whose it is ---


def test_cve_2024_42062_a_list_shows_nobodys_keys(world):
    for user in ("ann", "dom", "pam", "admin", "rex"):
        for name in ("listUsers", "listAccounts"):
            got = world.ask(user, {"command": name, "listall": "true"})
            text = str(got.content)
            assert got.status == 200 and "secretkey" not in text
            assert not [u.username for u in world.users.values() if u.secret_key and u.secret_key in text]
            if user in ("ann", "dom", "pam"):
                assert world.users["admin"].api_key not in text


def test_cve_2024_42222_networks_of_others_are_in_no_list(world):
    with reading() as session:
        theirs = set(
            session.scalars(select(Network.uuid).where(Network.account_id == own(world, Vm, "eve").account_id))
        )
        domain = session.scalar(select(Domain.uuid).where(Domain.path == "/c/"))
    assert theirs
    for more in (
        {}, {"listall": "true"}, {"projectid": "-1"}, {"projectid": "-1", "listall": "true"}, {"keyword": "%"},
        {"listall": "true", "isrecursive": "true"}, {"canusefordeploy": "true"}, {"domainid": domain},
        {"account": "eve", "domainid": domain}, {"networkfilter": "all", "listall": "true"}, {"issystem": "true"},
        {"networkfilter": "shared"}, {"type": "isolated", "listall": "true"}, {"retrieveonlyresourcecount": "true"},
    ):  # fmt: skip
        for user in ("ann", "dom", "pam", "sib"):
            got = world.ask(user, {"command": "listNetworks"} | more)
            assert not got.internal
            assert not theirs & {n.get("id") for n in got.content.get("network", [])}, (user, more)


def test_cve_2024_45461_a_command_without_roles_cannot_be_declared():
    with pytest.raises(TypeError, match="who may call it"):
        command("listZones", roles=())(lambda ctx: None)


def test_cve_2025_22828_remarks_on_things_of_others(world):
    machine = own(world, Vm, "ann")
    for user in ("eve", "bob", "sib"):
        like_missing(
            world, user, {"command": "addAnnotation", "entitytype": "VM", "annotation": "x"}, "entityid", machine.uuid
        )
        got = world.ask(user, {"command": "listAnnotations", "entitytype": "VM", "entityid": machine.uuid})
        assert not got.content.get("annotation")


def test_cve_2025_30675_templates_of_a_domain_above(world):
    with reading() as session:
        root = session.scalar(select(Domain.uuid).where(Domain.id == 1))
        private = set(session.scalars(select(Template.uuid).where(Template.public.is_(False))))
        below = select(Domain.id).where(Domain.path.startswith("/a/b/"))
        mine = set(session.scalars(select(Template.uuid).where(Template.domain_id.in_(below))))
    for which in ("self", "selfexecutable", "executable", "community", "shared", "sharedexecutable", "all", "featured"):
        for place in ({"domainid": root}, {"domainid": root, "isrecursive": "true"}, {"listall": "true"}):
            got = world.ask("dom", {"command": "listTemplates", "templatefilter": which} | place)
            seen = {t["id"] for t in got.content.get("template", [])}
            assert not (seen & private) - mine, (which, place)


# Ids that a body resolves by itself, each in a narrower place than the caller's scope
RESOLVED = {
    "deleteUserFromProject.userid": "among the members of a project that the caller runs",
    "updateProject.userid": "among the members of a project that the caller runs",
    "updateProjectInvitation.projectid": "among the open invitations to the caller",
    "queryAsyncJobResult.jobid": "among the caller's jobs, see below",
    "registerTemplate.zoneid": "-1 is none; others as Use[Zone]",
    "registerIso.zoneid": "likewise",
    "updateHypervisorCapabilities.id": "of root administrators alone, who see every hypervisor",
}


def test_cve_2025_59454_every_id_is_looked_up_in_the_callers_scope(world):
    """In lists an id that is looked up nowhere only narrows, which tests/access tries; elsewhere it is argued for."""
    loose = set()
    for name, declared in ALL.items():
        facts = (of_command(name) or {"params": {}})["params"]
        for p in declared.parameters:
            known = facts.get(p.name, {})
            if known.get("type") == "uuid" and known.get("entity") and p.entity is None and not declared.is_list:
                loose.add(f"{name}.{p.name}")
    assert loose <= set(RESOLVED), f"an id without Use or Operate: {sorted(loose - set(RESOLVED))}"
    machine = own(world, Vm, "ann")
    with reading() as session:
        job = session.scalar(select(JobRow.uuid).where(JobRow.account_id == world.users["ann"].account_id))
    for user in ("eve", "bob", "sib"):
        like_missing(world, user, {"command": "queryAsyncJobResult"}, "jobid", job)
        got = world.ask(user, {"command": "listResourceDetails", "resourcetype": "UserVm", "resourceid": machine.uuid})
        assert got.status >= 400 or not got.content.get("resourcedetail")
    ours = next(p.uuid for p in world.projects.values() if p.name == "p-ann")
    for name in ("deleteUserFromProject", "updateProject"):
        field = "projectid" if name == "deleteUserFromProject" else "id"
        sent = {"command": name, field: ours, "roletype": "Regular"}
        like_missing(world, "ann", sent, "userid", world.users["eve"].uuid)
    theirs = next(p.uuid for p in world.projects.values() if p.name == "p-eve")
    like_missing(world, "ann", {"command": "updateProjectInvitation"}, "projectid", theirs)


def test_cve_2026_25199_details_choose_no_machine(world):
    ann, eve = own(world, Vm, "ann"), own(world, Vm, "eve")
    before = world.ask("admin", {"command": "listVirtualMachines", "id": ann.uuid}).content["virtualmachine"][0]
    stopped = world.cloud.job("stopVirtualMachine", user="ann", id=ann.uuid)["virtualmachine"]
    assert stopped["state"] == "Stopped"
    names = ("proxmox_vmid", "vmid", "uuid", "instancename", "instance.name", "External:vmid", "hypervisor_id")
    for n, name in enumerate(names):
        sent = {"command": "updateVirtualMachine", "id": ann.uuid, "details[0].key": name}
        world.ask("ann", sent | {"details[0].value": str(eve.id) if n % 2 else eve.uuid})
    world.cloud.job("startVirtualMachine", user="ann", id=ann.uuid)
    after = world.ask("admin", {"command": "listVirtualMachines", "id": ann.uuid}).content["virtualmachine"][0]
    other = world.ask("admin", {"command": "listVirtualMachines", "id": eve.uuid}).content["virtualmachine"][0]
    assert (after["instancename"], after["state"]) == (before["instancename"], "Running")
    assert other["state"] == "Running" and other["instancename"] != after["instancename"]


# --- who may more ---


def test_cve_2025_47713_nobody_sets_the_password_of_who_may_more(world):
    admin = world.users["admin"]
    for user in ("ann", "dom", "pam", "rex"):
        with nothing_kept():
            for more in ({"password": "new-long-password"}, {"email": "e@example.org"}, {"username": "x"}):
                got = world.ask(user, {"command": "updateUser", "id": admin.uuid} | more)
                assert got.status in (431, 432), (user, more, got.status)
            for name in ("disableUser", "lockUser", "deleteUser"):
                assert world.ask(user, {"command": name, "id": admin.uuid}).status in (431, 432), (user, name)


def test_cve_2025_47713_by_an_administrator_of_the_same_domain(cloud):
    cloud.account("boss", kind=2)  # of ROOT, where the root administrator is
    with reading() as session:
        admin = session.scalar(select(User.uuid).where(User.username == "admin"))
    for name in ("updateUser", "disableUser", "lockUser", "deleteUser", "registerUserKeys", "getUserKeys"):
        status, body = cloud.raw("boss", name, id=admin, **({"password": "x" * 12} if name == "updateUser" else {}))
        assert status in (431, 432), (name, body)


def test_cve_2025_47849_nobody_reads_or_renews_the_keys_of_who_may_more(world):
    admin = world.users["admin"]
    for user in ("ann", "dom", "pam", "rex", "ron"):
        for name in ("getUserKeys", "registerUserKeys"):
            with nothing_kept():
                got = world.ask(user, {"command": name, "id": admin.uuid})
            assert got.status in (431, 432) and admin.secret_key not in str(got.content), (user, name)


# --- races ---


def test_cve_2025_69233_of_many_calls_at_once_as_many_pass_as_the_limit_has_units(cloud):
    """Over the API, by several users of one account, each kind of them again and again; and the count is true."""
    zone = cloud.ask("createZone", name="z", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.54")
    cloud.ask("updateZone", id=zone["zone"]["id"], allocationstate="Enabled")
    offering = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    cloud.account("ann")
    users = ["ann", second_user("ann2", "ann"), second_user("ann3", "ann")]
    sent = {"zoneid": zone["zone"]["id"], "diskofferingid": offering}

    def one(n):
        status, body = cloud.raw(users[n % 3], "createVolume", name=f"d{n}", **sent)
        ((_, content),) = body.items()
        assert status == 200 or "limit" in content["errortext"], body
        return status

    for limit in (1, 4, 5):
        cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=2, max=limit)
        before = cloud.ask("listVolumes", user="ann").get("count", 0)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(one, range(24)))
        assert answers.count(200) == limit - before and set(answers) == {200, 535}
        assert cloud.ask("listVolumes", user="ann")["count"] == limit
        told = cloud.ask("listAccounts", name="ann", listall=True)["account"][0]
        counted = cloud.ask("updateResourceCount", account="ann", domainid=domain, resourcetype=2)["resourcecount"]
        assert told["volumetotal"] == counted[0]["resourcecount"] == limit


def test_cve_2025_69233_of_many_at_once_the_last_unit_goes_to_one(cloud):
    cloud.account("ann", domain="/a/")
    with reading() as session:
        account = session.scalar(select(Account.id).where(Account.name == "ann"))
    write(lambda tx: limits.take(tx, account, user_vm=19))

    def one(_):
        try:
            write(lambda tx: limits.take(tx, account, user_vm=1))
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(32))) == 1
