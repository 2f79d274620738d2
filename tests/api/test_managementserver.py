"""Management servers and their database, as operators see them."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.jobs.queue import beat, join_cluster
from mgmt_server.jobs.rows import Node
from tests.cloud import Refused
from tests.simulated import build


def silent(name):
    """A server that has not been heard of for a while."""
    join_cluster(name, "192.0.2.7", "1.0")
    old = update(Node).where(Node.name == name).values(heartbeat=db.now() - timedelta(minutes=5))
    db.write(lambda tx: tx.execute(old))
    with db.reading() as session:
        return session.scalar(select(Node).where(Node.name == name))


def test_a_server_tells_what_it_is(cloud):
    hosts = build(hosts=2)["hosts"].split(",")
    (found,) = cloud.ask("listManagementServers")["managementserver"]
    assert (found["name"], found["state"], found["pendingjobscount"]) == ("test", "Up", 0)
    assert (found["agents"], found["agentscount"], found["lastagents"]) == (hosts, 2, [])
    assert {"id", "lastserverstart", "osdistribution", "kernelversion", "lastboottime"} <= found.keys()
    assert "peers" not in found and "lastserverstop" not in found
    for other in ({"name": "x"}, {"version": "99"}, {"keyword": "zzz"}):
        assert cloud.ask("listManagementServers", **other) == {}
    assert cloud.ask("listHosts", managementserverid=found["id"])["count"] == 2


def test_a_restarted_server_tells_when_it_ended(cloud):
    join_cluster("test")
    (found,) = cloud.ask("listManagementServers")["managementserver"]
    assert found["lastserverstop"] <= found["lastserverstart"]


def test_servers_tell_of_each_other(cloud):
    gone = silent("other")
    found = {s["name"]: s for s in cloud.ask("listManagementServers", peers=True)["managementserver"]}
    (peer,) = found["test"]["peers"]
    assert (peer["peername"], peer["state"], peer["peerid"], peer["peerserviceip"]) == (
        "other", "Down", gone.uuid, "192.0.2.7",
    )  # fmt: skip
    assert [p["peername"] for p in found["other"]["peers"]] == ["test"] and found["other"]["state"] == "Down"


def test_a_server_is_removed_when_it_is_down_and_comes_back_when_it_lives(cloud):
    node = silent("other")
    (running,) = cloud.ask("listManagementServers", name="test")["managementserver"]
    with pytest.raises(Refused, match="test is up: stop it first"):
        cloud.ask("removeManagementServer", id=running["id"])
    assert cloud.ask("removeManagementServer", id=node.uuid) == {"success": True}
    assert cloud.ask("listManagementServers", name="other") == {}
    with pytest.raises(Refused):
        cloud.ask("removeManagementServer", id=node.uuid)
    assert beat(node)
    assert cloud.ask("listManagementServers", name="other")["managementserver"][0]["state"] == "Up"


def test_figures_of_a_server(cloud):
    build(hosts=2)
    (found,) = cloud.ask("listManagementServersMetrics")["managementserver"]
    assert found["agentcount"] == 2 and found["dbislocal"] is True and found["sessions"] == 0
    assert found["availableprocessors"] > 0 and found["heapmemorytotal"] >= found["heapmemoryused"] > 2**20
    assert found["systemmemorytotal"].endswith(" GB") and len(found["systemloadaverages"]) == 3
    assert found["cpuload"].endswith(" %") and len(found["systemcycleusage"]) == 3
    (less,) = cloud.ask("listManagementServersMetrics", system=False)["managementserver"]
    assert not [k for k in less if k.startswith("system")] and less["collectiontime"]


def test_a_beat_looks_anew_when_it_is_asked_to(cloud):
    def looked():
        with db.reading() as session:
            return session.scalar(select(Node.looked))

    before = looked()
    assert beat(cloud.node) and looked() == before
    assert beat(cloud.node, look=True) and looked() > before


def test_the_database_tells_what_it_is(cloud):
    found = cloud.ask("listDbMetrics")["dbMetrics"]
    assert found["version"] and found["versioncomment"] and found["queries"] > 0 and found["connections"] > 0


def test_only_root_sees_servers(cloud):
    cloud.account("dora", kind=2, domain="/a/")
    for name in ("listManagementServers", "listManagementServersMetrics", "listDbMetrics"):
        assert cloud.raw("dora", name)[0] in (401, 432)
