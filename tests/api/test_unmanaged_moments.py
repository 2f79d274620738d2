"""A server that dies at each moment of letting a machine go, or taking one over: the next one ends it, once."""

from itertools import count

import pytest

from tests.api import test_volume_moments
from tests.api.test_nic import network
from tests.api.test_unmanaged import MAC, machines, stranger, taken, zone  # noqa: F401
from tests.api.test_unmanaged_moves import disks, fast, listed, offering, stopped  # noqa: F401
from tests.api.test_volume_moments import lives
from tests.crash.invariants import broken

# ruff: noqa: F811  fixtures of the other files

dying = test_volume_moments.dying


def test_a_stopped_machine_is_let_go_to_another_host(cloud, zone, dying):
    vm, hosts = stopped(cloud, zone), zone["hosts"].split(",")
    net, turns, current = vm["nic"][0]["networkid"], count(), [vm]

    def ask(vm):
        return cloud.ask("unmanageVirtualMachine", id=vm["id"], hostid=hosts[next(turns) % 2])

    def check(vm):
        found = listed(cloud, zone)
        mac = found["nic"][0]["macaddress"]
        current[0] = taken(
            cloud, zone, network=net, name=found["name"], hostname="two", **{"nicnetworklist[0].nic": mac}
        )
        assert broken() == []

    assert lives(cloud, dying, lambda: current[0], ask, check) > 5


@pytest.mark.parametrize("state", ["Stopped", "Running"])
def test_a_machine_whose_disk_moves_is_taken_over(cloud, zone, fast, dying, state):
    net, wanted, turns = network(cloud, zone), offering(cloud, tags="ssd"), count()

    def prepare():
        name = f"00000000-0000-4000-8000-{next(turns):012}"
        stranger(zone, state, disks=(name,))
        return name

    def ask(name):
        sent = {"clusterid": zone["cluster"], "name": "by-hand", "serviceofferingid": wanted, "migrateallowed": True}
        nics = {"nicnetworklist[0].nic": MAC, "nicnetworklist[0].network": net}
        return cloud.ask("importUnmanagedInstance", **sent, **nics)

    def check(name):
        (vm,) = cloud.ask("listVirtualMachines", name="by-hand", listall=True)["virtualmachine"]
        assert vm["state"] == state and broken() == []
        assert disks()[fast, name] == 7 and (zone["pool"], name) not in disks()
        assert ("by-hand" in machines()) == (state == "Running")
        cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)

    assert lives(cloud, dying, prepare, ask, check) > 8
