"""What machines, disks, templates and projects count for, and what goes beyond a limit."""

# ruff: noqa: F811  the fixtures are imported

import pytest
from sqlalchemy import delete, event, select, update

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.db import kept
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.account import Account, Project, ProjectMember
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.limit import recount
from mgmt_server.resources.template import flows
from mgmt_server.resources.template.bring import Brought, Order
from tests.api.test_limit import GIB, domain_id, ids, told  # noqa: F401
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build


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


def test_the_tag_of_a_machines_template_counts_as_one_of_its_host(cloud, ids, zone):
    cloud.ask("updateConfiguration", name="resource.limit.host.tags", value="gpu,licence")

    def tag(tx):
        tx.scalar(select(ServiceOffering).where(ServiceOffering.name == "Small Instance")).host_tag = "gpu,fast"
        tx.execute(update(Host).values(tags="gpu,fast,licence"))

    def apart():
        with db.reading() as session:
            assert recount.wrong(session) == ([], []), "a recount finds the same"
        return {key: used for key, used in mine(ids).items() if not key.endswith("/")}

    db.write(tag)
    place = {"domainid": domain_id("/a/b/"), "account": "ann"}
    of_offering = {"user_vm/gpu": 1, "cpu/gpu": 1, "memory/gpu": 512}
    of_template = {"user_vm/licence": 1, "cpu/licence": 1, "memory/licence": 512}
    cloud.ask("updateTemplate", id=zone["template"], templatetag="licence")
    vm = deploy(cloud, zone)
    assert apart() == of_offering | of_template
    cloud.ask("updateResourceLimit", resourcetype=0, max=1, tag="licence", **place)
    with pytest.raises(Refused, match="user_vm with tag licence for the account ann"):
        deploy(cloud, zone)
    plain = another_template(zone)
    assert deploy(cloud, zone, templateid=plain, startvm=False)
    cloud.job("restoreVirtualMachine", user="ann", virtualmachineid=vm, templateid=plain)
    assert apart() == {key: 2 * used for key, used in of_offering.items()}, "it is of another template now"
    again = deploy(cloud, zone)
    with pytest.raises(Refused, match="user_vm with tag licence"):
        cloud.job("restoreVirtualMachine", user="ann", virtualmachineid=vm, templateid=zone["template"])
    cloud.job("destroyVirtualMachine", user="ann", id=again)
    assert apart() == {key: 2 * used for key, used in of_offering.items()}


def another_template(zone):
    """The same image without a tag: its id."""

    def make(tx):
        first = tx.scalars(select(Template).where(Template.uuid == zone["template"])).one()
        image = tx.scalars(select(TemplateOnStore).where(TemplateOnStore.template_id == first.id)).one()
        made = [
            type(row)(**{c.key: getattr(row, c.key) for c in row.__table__.columns if c.key not in ("id", "uuid")})
            for row in (first, image)
        ]
        made[0].name, made[0].tag = "plain", None
        tx.add(made[0])
        tx.flush()
        made[1].template_id = made[0].id
        tx.add(made[1])
        return made[0].uuid

    return db.write(make)


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


def test_a_deploy_takes_forty_statements_at_most_and_the_counts_come_last(cloud, ids, zone, monkeypatch):
    monkeypatch.setattr(kept, "STANDS", 600.0)  # what is read every few seconds is nobody's in particular
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
