"""What accounts, domains and projects have and may have: limits, counts, and what the lists tell of them."""

import pytest
from sqlalchemy import delete, event, select, update

from mgmt_server import db
from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.account import Account, Domain, Project, ProjectMember
from mgmt_server.model.event import Alert
from mgmt_server.model.host import Host
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.limit import recount, timers
from mgmt_server.resources.limit.rows import account_key, domain_key, fields, of_owners
from mgmt_server.resources.template import flows
from mgmt_server.resources.template.bring import Brought, Order
from tests.cloud import Refused
from tests.simulated import build

GIB = 1 << 30


@pytest.fixture
def ids(cloud):
    """Accounts and domains by name."""
    cloud.account("ann", domain="/a/b/")
    cloud.account("bob", domain="/a/")
    with db.reading() as session:
        found = dict(session.execute(select(Account.name, Account.id)).all())
        return found | dict(session.execute(select(Domain.path, Domain.id)).all())


def test_the_use_of_many_owners_is_one_select(ids):
    db.write(lambda tx: limits.take(tx, ids["ann"], user_vm=2, memory=512, primary_storage=3 * GIB))
    db.write(lambda tx: limits.take(tx, ids["bob"], user_vm=1))
    db.write(lambda tx: limits.take(tx, 2, user_vm=5, secondary_storage=GIB // 2))
    keys = [account_key(ids[n]) for n in ("ann", "bob", "admin")] + [domain_key(ids[p]) for p in ("/", "/a/", "/a/b/")]
    limits.default("account", "cpu"), limits.inherited("/a/b/")  # settings and what domains have are read once
    with db.reading() as session:
        before = db.statements
        found = of_owners(session, keys)
        assert db.statements - before == 1
    assert found[account_key(ids["ann"])]["user_vm"] == (2, 20)
    assert found[account_key(ids["ann"])]["primary_storage"] == (3 * GIB, 200 * GIB)
    assert found[account_key(ids["ann"])]["snapshot"] == (0, 20)
    assert found[account_key(2)]["user_vm"] == (5, None)
    assert [found[domain_key(ids[p])]["user_vm"] for p in ("/", "/a/", "/a/b/")] == [(8, None), (3, 40), (2, 40)]
    assert set(found) == set(keys)


def test_fields_are_said_as_the_protocol_says_them(ids):
    db.write(lambda tx: limits.take(tx, ids["ann"], primary_storage=3 * GIB, secondary_storage=GIB // 2))
    with db.reading() as session:
        (have,) = of_owners(session, [account_key(ids["ann"])]).values()
    said = fields(have)
    assert (said["vmlimit"], said["vmtotal"], said["vmavailable"]) == ("20", 0, "20")
    assert (said["primarystoragelimit"], said["primarystoragetotal"], said["primarystorageavailable"]) == (
        "200",
        3,
        "197",
    )
    assert (said["secondarystoragetotal"], said["secondarystorageavailable"]) == (0.5, "399.5")
    assert len(said) == 36


def told(cloud, user="admin", **sent):
    found = cloud.ask("listResourceLimits", user=user, **sent).get("resourcelimit", [])
    return {entry["resourcetypename"]: entry["max"] for entry in found}


def domain_id(path):
    with db.reading() as session:
        return session.scalar(select(Domain.uuid).where(Domain.path == path))


@pytest.fixture
def admins(cloud, ids):
    """Domain administrators of /a/ and /a/b/, and one of another tree."""
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("chief", kind=2, domain="/a/b/")
    cloud.account("stranger", kind=2, domain="/c/")
    return ids


def test_limits_are_listed_by_owner_and_type(cloud, ids):
    found = cloud.ask("listResourceLimits", resourcetype=0)
    assert found == {
        "count": 1,
        "resourcelimit": [
            {"account": "admin", "domainid": domain_id("/"), "domain": "ROOT", "domainpath": "ROOT",
             "resourcetype": "0", "resourcetypename": "user_vm", "max": -1},
        ],
    }  # fmt: skip
    assert len(told(cloud)) == 12 and set(told(cloud).values()) == {-1}
    mine = told(cloud, user="ann")
    assert (mine["user_vm"], mine["memory"], mine["primary_storage"]) == (20, 40960, 200)
    assert told(cloud, domainid=domain_id("/a/"), resourcetypename="cpu") == {"cpu": 80}
    assert told(cloud, account="ann", domainid=domain_id("/a/b/"), resourcetype=1) == {"public_ip": 20}
    page = cloud.ask("listResourceLimits", page=2, pagesize=5)
    assert page["count"] == 12 and [e["resourcetype"] for e in page["resourcelimit"]] == ["5", "6", "7", "8", "9"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"resourcetype": 12}, "resourcetype=12 is none of 0 user_vm"),
        ({"resourcetypename": "gpu"}, "resourcetypename=gpu is none of"),
        ({"resourcetype": 0, "resourcetypename": "cpu"}, "different things"),
        ({"account": "nobody"}, "account value=nobody"),
    ],
)
def test_what_cannot_be_listed_is_refused(cloud, ids, wrong, said):
    with pytest.raises(Refused, match=said):
        cloud.ask("listResourceLimits", **wrong)


def test_users_read_their_own_account_and_domain_and_nothing_else(cloud, admins):
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"), resourcetype=0) == {"user_vm": 40}
    for foreign in ({"domainid": domain_id("/a/")}, {"account": "bob", "domainid": domain_id("/a/b/")}):
        with pytest.raises(Refused) as no:
            cloud.ask("listResourceLimits", user="ann", **foreign)
        assert no.value.status == 431 and "does not exist" in no.value.text
    cloud.ask("updateResourceLimit", account="ann", domainid=domain_id("/a/b/"), resourcetype=0, max=3)
    with db.reading() as session:
        number = session.scalar(select(ResourceCount.id).where(ResourceCount.most == 3))
    assert told(cloud, user="ann", id=number) == told(cloud, user="boss", id=number) == {"user_vm": 3}
    assert told(cloud, user="bob", id=number) == told(cloud, user="stranger", id=number) == {}


def test_an_administrator_sets_limits_below(cloud, admins):
    event = {"type": "RESOURCE.LIMIT.UPDATE"}
    made = cloud.ask(
        "updateResourceLimit", user="boss", account="ann", domainid=domain_id("/a/b/"), resourcetype=0, max=7
    )
    assert made == {
        "resourcelimit": {
            "account": "ann", "domainid": domain_id("/a/b/"), "domain": "b", "domainpath": "ROOT/a/b",
            "resourcetype": "0", "resourcetypename": "user_vm", "max": 7,
        }
    }  # fmt: skip
    assert told(cloud, user="ann", resourcetype=0) == {"user_vm": 7}
    assert "user_vm for the account ann" in cloud.ask("listEvents", user="boss", **event)["event"][0]["description"]
    cloud.ask("updateResourceLimit", user="boss", domainid=domain_id("/a/b/"), resourcetype=10, max=300)
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"))["primary_storage"] == 300
    cloud.ask("updateResourceLimit", user="boss", domainid=domain_id("/a/b/"), resourcetype=10)
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"))["primary_storage"] == -1
    with db.reading() as session:
        assert session.scalar(select(ResourceCount.most).where(ResourceCount.type == "user_vm")) == 7


def test_a_sub_domain_has_the_limit_of_the_nearest_above_until_it_has_its_own(cloud, admins):
    below = {"domainid": domain_id("/a/b/"), "resourcetype": 0}
    cloud.ask("updateResourceLimit", domainid=domain_id("/a/"), resourcetype=0, max=500)
    assert told(cloud, user="boss", **below) == {"user_vm": 500}
    with db.reading() as session:
        assert of_owners(session, [domain_key(admins["/a/b/"])])[domain_key(admins["/a/b/"])]["user_vm"] == (0, 500)
    cloud.ask("updateResourceLimit", user="boss", max=400, **below)
    assert told(cloud, user="boss", **below) == {"user_vm": 400}
    with pytest.raises(Refused, match="which is 500"):
        cloud.ask("updateResourceLimit", user="boss", max=501, **below)


@pytest.mark.parametrize(
    ("user", "sent", "status", "said"),
    [
        ("chief", {"account": "chief", "path": "/a/b/"}, 432, "nobody changes the limits of their own"),
        ("chief", {"path": "/a/b/"}, 432, "nobody changes the limits of their own"),
        ("chief", {"path": "/a/"}, 431, "does not exist"),
        ("stranger", {"account": "ann", "path": "/a/b/"}, 431, "does not exist"),
        ("boss", {"path": "/a/b/", "max": 41}, 431, "more than the limit of the domain /a/ above it, which is 40"),
        ("boss", {"path": "/a/b/", "max": -2}, 431, "max=-2 is no limit"),
        ("boss", {"path": "/a/b/", "tag": "gpu"}, 431, "tag=gpu is not limited for user_vm"),
        ("boss", {}, 431, "say whose limit"),
        ("ann", {"account": "ann", "path": "/a/b/"}, 432, "not exist"),
        ("admin", {"path": "/"}, 432, "ROOT has no limits"),
        ("admin", {"account": "admin", "path": "/"}, 431, "only max=-1"),
    ],
)
def test_who_may_not_set_what(cloud, admins, user, sent, status, said):
    place = {"domainid": domain_id(sent["path"])} if "path" in sent else {}
    rest = {k: v for k, v in sent.items() if k != "path"}
    with pytest.raises(Refused, match=said) as no:
        cloud.ask("updateResourceLimit", user=user, **{"resourcetype": 0, "max": 5, **place, **rest})
    assert no.value.status == status
    with db.reading() as session:
        assert session.scalar(select(ResourceCount.id).where(ResourceCount.most.is_not(None))) is None


def test_a_count_that_is_wrong_is_counted_anew(cloud, ids):
    for account, amounts in (("ann", {"user_vm": 4, "network": 2}), ("bob", {"cpu": 3}), ("admin", {"user_vm": 1})):
        db.write(lambda tx, a=account, m=amounts: limits.take(tx, ids[a], **m))
    found = cloud.ask("updateResourceCount", domainid=domain_id("/a/b/"), account="ann", resourcetype=0)
    assert found["resourcecount"] == [
        {"account": "ann", "domainid": domain_id("/a/b/"), "domain": "b", "domainpath": "ROOT/a/b",
         "resourcetype": "0", "resourcetypename": "user_vm", "resourcecount": 0}
    ]  # fmt: skip
    assert counts() == {
        f"account:{ids['ann']}/network/": 2, f"domain:{ids['/a/']}/network/": 2, f"domain:{ids['/a/b/']}/network/": 2,
        f"account:{ids['bob']}/cpu/": 3, f"domain:{ids['/a/']}/cpu/": 3, "account:2/user_vm/": 1,
    }  # fmt: skip
    assert cloud.ask("updateResourceCount", domainid=domain_id("/a/"))["count"] == 12
    assert counts() == {"account:2/user_vm/": 1}
    cloud.ask("updateResourceCount", domainid=domain_id("/"))
    assert counts() == {}


def counts():
    with db.reading() as session:
        rows = session.execute(select(ResourceCount.key, ResourceCount.used).where(ResourceCount.used != 0))
        return dict(rows.all())


def test_the_timer_repairs_and_tells(cloud, ids):
    timers.check()
    db.write(lambda tx: limits.take(tx, ids["ann"], user_vm=4))
    row = ResourceCount
    db.write(lambda tx: tx.execute(update(row).where(row.domain_id == ids["/a/"]).values(used=9)))
    timers.check()
    assert counts() == {}
    with db.reading() as session:
        (alert,) = session.scalars(select(Alert).where(Alert.name == "ALERT.RESOURCE.COUNT"))
    assert (
        alert.subject.startswith("3 resource counts")
        and f"domain:{ids['/a/']} user_vm: 9 instead of 0" in alert.content
    )
    timers.check()
    with db.reading() as session:
        assert len(session.scalars(select(Alert)).all()) == 1


@pytest.fixture
def zone(cloud, ids):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["disk"] = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    return found


def deploy(cloud, zone, user="ann", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]["id"]


def mine(ids, name="ann"):
    prefix = f"account:{ids[name]}/"
    return {key.removeprefix(prefix): used for key, used in counts().items() if key.startswith(prefix)}


def test_what_a_machine_counts_for_from_deploy_to_expunge(cloud, ids, zone):
    vm = deploy(cloud, zone, diskofferingid=zone["disk"])
    network = {"network/": 1, "public_ip/": 1}
    disks = {"volume/": 2, "primary_storage/": 2 * GIB + 5 * GIB}
    machine = {"user_vm/": 1, "cpu/": 1, "memory/": 512}
    assert mine(ids) == machine | disks | network, "the router is not among them, its address is"
    owners = {f"account:{ids['ann']}", f"domain:{ids['/a/']}", f"domain:{ids['/a/b/']}"}
    assert {key.split("/")[0] for key in counts()} == owners
    cloud.job("stopVirtualMachine", user="ann", id=vm)
    assert mine(ids) == machine | disks | network, "a stopped one counts too"
    cloud.job("destroyVirtualMachine", user="ann", id=vm)
    assert mine(ids) == disks | network
    cloud.ask("recoverVirtualMachine", id=vm)
    assert mine(ids) == machine | disks | network
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert mine(ids) == {"volume/": 1, "primary_storage/": 5 * GIB} | network
    (found,) = cloud.ask("listNetworks", user="ann")["network"]
    cloud.job("deleteNetwork", user="ann", id=found["id"])
    assert mine(ids) == {"volume/": 1, "primary_storage/": 5 * GIB}


def test_a_machine_that_never_ran_gives_everything_back(cloud, ids, zone):
    deploy(cloud, zone)
    before = counts()
    cloud.ask("configureSimulator", name="start", value="fail:no power")
    with pytest.raises(Refused, match="no power"):
        deploy(cloud, zone, name="dead")
    assert counts() == before
    (dead,) = cloud.ask("listVirtualMachines", user="ann", name="dead")["virtualmachine"]
    cloud.ask("cleanupSimulatorMock")
    cloud.job("destroyVirtualMachine", id=dead["id"], expunge=True)
    assert counts() == before


def test_a_call_over_a_limit_is_refused_with_which_of_whom(cloud, ids, zone):
    vm = deploy(cloud, zone)
    place = {"domainid": domain_id("/a/b/"), "account": "ann"}
    for number, most, said in (
        (0, 1, "user_vm for the account ann in domain /a/b/ is exceeded: its limit is 1 machines, 1 are used, 1 more"),
        (9, 600, "its limit is 600 MiB of memory, 512 are used, 512 more"),
        (10, 3, "its limit is 3 GiB of primary storage, 2 are used, 2 more"),
        (2, 1, "its limit is 1 volumes, 1 are used"),
    ):
        cloud.ask("updateResourceLimit", resourcetype=number, max=most, **place)
        before = counts()
        with pytest.raises(Refused, match=said) as no:
            deploy(cloud, zone)
        assert no.value.status == 535 and no.value.answer["cserrorcode"] == 4370 and counts() == before
        cloud.ask("updateResourceLimit", resourcetype=number, max=-1, **place)
    cloud.job("destroyVirtualMachine", user="ann", id=vm)
    cloud.ask("updateResourceLimit", resourcetype=0, max=0, **place)
    with pytest.raises(Refused, match="its limit is 0 machines"):
        cloud.ask("recoverVirtualMachine", id=vm)
    assert cloud.ask("listVirtualMachines", id=vm)["virtualmachine"][0]["state"] == "Destroyed"


def test_the_figures_of_a_domain_above_are_not_told(cloud, ids, zone):
    cloud.ask("updateResourceLimit", domainid=domain_id("/a/"), resourcetype=0, max=1)
    deploy(cloud, zone, user="bob")
    with pytest.raises(Refused, match="for the domain /a/ is exceeded: 1 more were asked for of machines") as no:
        deploy(cloud, zone)
    assert no.value.status == 535 and "limit is" not in no.value.text


def test_machines_count_while_they_run_where_the_setting_says_so(cloud, ids, zone):
    cloud.ask("updateConfiguration", name="resource.count.running.vms.only", value=True)
    cloud.ask("updateResourceLimit", domainid=domain_id("/a/b/"), account="ann", resourcetype=0, max=1)
    first = deploy(cloud, zone)
    second = deploy(cloud, zone, startvm=False)
    assert mine(ids)["user_vm/"] == 1
    with pytest.raises(Refused, match="its limit is 1 machines") as no:
        cloud.job("startVirtualMachine", user="ann", id=second)
    assert no.value.status == 535
    cloud.job("stopVirtualMachine", user="ann", id=first)
    cloud.job("startVirtualMachine", user="ann", id=second)
    assert mine(ids)["user_vm/"] == 1


def test_what_is_on_tagged_hosts_and_storage_is_limited_apart(cloud, ids, zone):
    cloud.ask("updateConfiguration", name="resource.limit.host.tags", value="gpu")
    cloud.ask("updateConfiguration", name="resource.limit.storage.tags", value="ssd")

    def tag(tx):
        tx.scalar(select(ServiceOffering).where(ServiceOffering.name == "Small Instance")).host_tag = "gpu, fast"
        tx.scalar(select(DiskOffering).where(DiskOffering.name == "Small")).tags = "ssd"
        for table in (Host, Pool):
            for row in tx.scalars(select(table)):
                row.tags = "gpu,fast,ssd"

    db.write(tag)
    place = {"domainid": domain_id("/a/b/"), "account": "ann"}
    vm = deploy(cloud, zone, diskofferingid=zone["disk"])
    tagged = {key: used for key, used in mine(ids).items() if not key.endswith("/")}
    machine = {"user_vm/gpu": 1, "cpu/gpu": 1, "memory/gpu": 512}
    assert tagged == machine | {"volume/ssd": 1, "primary_storage/ssd": 5 * GIB}
    listed = cloud.ask("listResourceLimits", user="ann")
    assert listed["count"] == 17 and {"tag": "gpu", "max": -1}.items() <= listed["resourcelimit"][1].items()
    cloud.ask("updateResourceLimit", resourcetype=0, max=1, tag="gpu", **place)
    assert cloud.ask("listResourceLimits", user="ann", tag="gpu", resourcetype=0)["resourcelimit"][0]["max"] == 1
    with pytest.raises(Refused, match="user_vm with tag gpu for the account ann"):
        deploy(cloud, zone)
    found = cloud.ask("updateResourceCount", resourcetype=2, tag="ssd", **place)["resourcecount"]
    assert [(e["tag"], e["resourcecount"]) for e in found] == [("ssd", 1)]
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert {key for key in mine(ids) if not key.endswith("/")} == {"volume/ssd", "primary_storage/ssd"}


def test_templates_and_their_images_count_until_they_are_gone(cloud, ids, zone):
    with db.reading() as session:
        sent = {"ostypeid": session.scalar(select(OsType.uuid).limit(1)), "zoneid": zone["zone"], "format": "QCOW2"}
    sent |= {"url": "http://192.0.2.1/x.qcow2", "hypervisor": "Simulator", "user": "ann"}
    (made,) = cloud.ask("registerTemplate", name="t", **sent)["template"]
    assert mine(ids) == {"template/": 1, "secondary_storage/": 5 * 2**20}
    place = {"domainid": domain_id("/a/b/"), "account": "ann"}
    cloud.ask("updateResourceLimit", resourcetype=4, max=1, **place)
    with pytest.raises(Refused, match="type template for the account ann .* its limit is 1"):
        cloud.ask("registerTemplate", name="u", **sent)
    cloud.job("deleteTemplate", user="ann", id=made["id"])
    assert mine(ids) == {}


def test_an_image_that_is_too_much_for_its_account_is_not_kept(cloud, ids, zone):
    """It is fetched before its size is known: the template says why it is not there."""

    def fetched(tx):
        template = Template(
            name="t", display_text="t", format="QCOW2", hypervisor="KVM", type="USER", account_id=ids["ann"],
            domain_id=ids["/a/b/"], unique_name="t", details={},
        )  # fmt: skip
        tx.add(template)
        tx.flush()
        flows.in_zone(tx, template, tx.scalar(select(Zone.id)))
        store = tx.scalar(select(ImageStore.id))
        row = TemplateOnStore(template_id=template.id, store_id=store, zone_id=tx.scalar(select(Zone.id)), path="x")
        tx.add(row)
        tx.flush()
        return Order(row.id, template.id, template.uuid, "", "QCOW2", "", "file:///none", "x")

    order = db.write(fetched)
    assert db.write(lambda tx: flows.arrived(tx, order, Brought(size=GIB, physical_size=401 * GIB))) is True
    (shown,) = cloud.ask("listTemplates", user="ann", templatefilter="self")["template"]
    assert "its limit is 400 GiB of secondary storage, 0 are used, 401 more" in shown["status"] and not shown["isready"]
    assert mine(ids) == {}


def test_a_template_that_is_not_ready_is_refused_at_the_call(cloud, ids, zone):
    db.write(lambda tx: tx.execute(update(TemplateOnStore).values(state="Creating", progress=40)))
    with pytest.raises(Refused, match="The template .* is not ready in the zone east, it is Creating .*40% Downloaded"):
        deploy(cloud, zone)
    db.write(lambda tx: tx.execute(delete(TemplateOnStore)))
    with pytest.raises(Refused, match="it is Absent .*not on a secondary storage of this zone yet"):
        deploy(cloud, zone)
    assert mine(ids) == {} and cloud.ask("listVirtualMachines", user="ann") == {}


def test_a_deploy_takes_forty_statements_at_most_and_the_counts_come_last(cloud, ids, zone):
    deploy(cloud, zone)
    deploy(cloud, zone)
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    (network,) = cloud.ask("listNetworks", user="ann")["network"]
    seen = []

    def look(_connection, _cursor, statement, *_):
        if not statement.startswith(("BEGIN", "RELEASE", "SAVEPOINT")):
            seen.append(statement)

    engines = [db.engine(), db.reading().get_bind()]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", look)
    cloud.ask("deployVirtualMachine", user="ann", networkids=network["id"], **sent)
    call = len(seen)
    assert run_next(cloud.node)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", look)
    assert seen[call - 1].startswith("UPDATE resource_count"), "the rows that many wait for"
    assert len(seen) <= 40, f"{call} in the call, {len(seen) - call} in its job"


def test_a_project_has_limits_of_its_own_and_counts_for_who_runs_it(cloud, ids, zone):
    for name, kind, place in (("boss", 2, "/a/"), ("visitor", 2, "/c/"), ("eve", 0, "/c/")):
        cloud.account(name, kind=kind, domain=place)
    made = cloud.job("createProject", user="ann", name="p")["project"]["id"]
    assert mine(ids) == {"project/": 1}
    assert told(cloud, user="ann", projectid=made, resourcetype=0) == {"user_vm": 20}
    cloud.ask("updateResourceLimit", user="boss", projectid=made, resourcetype=0, max=1)
    (listed,) = cloud.ask("listResourceLimits", user="ann", projectid=made, resourcetype=0)["resourcelimit"]
    assert (listed["project"], listed["projectid"], listed["max"]) == ("p", made, 1) and "account" not in listed
    deploy(cloud, zone, projectid=made)
    with pytest.raises(Refused, match="user_vm for the project .* is exceeded: its limit is 1 machines") as no:
        deploy(cloud, zone, projectid=made)
    assert no.value.status == 535 and mine(ids) == {"project/": 1}
    for user in ("visitor", "eve"):
        with pytest.raises(Refused, match="does not exist"):
            cloud.ask("listResourceLimits", user=user, projectid=made)
    found = cloud.ask("updateResourceCount", user="boss", domainid=domain_id("/a/b/"), projectid=made, resourcetype=0)
    assert [(e["project"], e["resourcecount"]) for e in found["resourcecount"]] == [("p", 1)]
    with db.reading() as session:
        assert recount.wrong(session) == ([], [])


def test_being_a_member_elsewhere_gives_no_say_over_a_projects_limits(cloud, ids):
    cloud.account("visitor", kind=2, domain="/c/")
    made = cloud.job("createProject", user="ann", name="p")["project"]["id"]

    def join(tx):
        visitor = tx.scalar(select(Account.id).where(Account.name == "visitor"))
        tx.add(ProjectMember(project_id=tx.scalar(select(Project.id)), account_id=visitor, role="Admin"))

    db.write(join)
    callers.forget()
    assert told(cloud, user="visitor", projectid=made, resourcetype=0) == {"user_vm": 20}
    with pytest.raises(Refused, match="do not administer"):
        cloud.ask("updateResourceLimit", user="visitor", projectid=made, resourcetype=0, max=99)
    with pytest.raises(Refused, match="is not in the domain"):
        cloud.ask("updateResourceCount", user="visitor", domainid=domain_id("/c/"), projectid=made)
    assert told(cloud, user="visitor", projectid=made, resourcetype=0) == {"user_vm": 20}
