"""What operators say that a hypervisor does: snapshots of machines, and disks that move while their machine runs."""

import pytest

from tests.api.test_migrate import local_offering, local_pools, zone  # noqa: F401  a fixture
from tests.api.test_vm import deploy
from tests.cloud import Refused


def can(cloud, **what):
    return cloud.ask("updateHypervisorCapabilities", hypervisor="Simulator", **what)["hypervisorcapabilities"]


def test_without_snapshots_of_machines_none_is_taken(cloud, zone):  # noqa: F811
    vm = deploy(cloud, zone)
    assert can(cloud, vmsnapshotenabled=False)["vmsnapshotenabled"] is False
    with pytest.raises(Refused, match="vmsnapshotenabled of its capabilities") as no:
        cloud.ask("createVMSnapshot", virtualmachineid=vm["id"])
    assert no.value.status == 431
    assert can(cloud, maxguestslimit=40)["vmsnapshotenabled"] is False
    can(cloud, vmsnapshotenabled=True)
    cloud.job("createVMSnapshot", virtualmachineid=vm["id"])


def test_without_storage_motion_a_running_machine_goes_where_its_disks_are_reached_alone(cloud, zone):  # noqa: F811
    pools = local_pools()
    local, shared = deploy(cloud, zone, serviceofferingid=local_offering(cloud)), deploy(cloud, zone)
    told = can(cloud, storagemotionenabled=False)
    assert told["storagemotionenabled"] is False
    with pytest.raises(Refused) as no:
        cloud.job("migrateVirtualMachine", virtualmachineid=local["id"], autoselect=True)
    assert "would have to move, and disks of machines that run on Simulator are not moved" in no.value.text
    (disk,) = cloud.ask("listVolumes", virtualmachineid=shared["id"])["volume"]
    here = cloud.ask("listVirtualMachines", id=shared["id"])["virtualmachine"][0]["hostid"]
    with pytest.raises(Refused, match="storagemotionenabled"):
        cloud.job("migrateVolume", volumeid=disk["id"], storageid=pools[here], livemigrate=True)
    cloud.job("migrateVirtualMachine", virtualmachineid=shared["id"], autoselect=True)
    can(cloud, storagemotionenabled=True)
    cloud.job("migrateVirtualMachine", virtualmachineid=local["id"], autoselect=True)


def test_what_stays_refused_is_told(cloud):
    with pytest.raises(Refused, match="securitygroupenabled"):
        can(cloud, securitygroupenabled=True)
