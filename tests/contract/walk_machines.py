"""What changes machines, disks and images: each such command at least once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.snapshot import SnapshotOnStore
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.contract.walk import Walk
from tests.simulated import GIB

MAC = "06:00:00:00:00:01"
DOWNLOAD = {"mode": "HTTP_DOWNLOAD"}


def machines(walk: Walk) -> None:
    ids, sent = walk.ids, {"zoneid": walk.ids["zone"], "serviceofferingid": walk.ids["offering"]}
    machine = sent | {"templateid": ids["template"], "networkids": ids["second"]}
    walk("explainDeployment", **sent, templateid=ids["template"])
    vm = walk("deployVirtualMachine", name="two", **machine)
    ids["machine"] = one = vm["id"]
    pair = {"resourceids": one, "resourcetype": "UserVm", "tags[0].key": "k", "tags[0].value": "v"}
    walk("createTags", **pair)
    walk("deleteTags", **pair)
    detail = {"resourceid": one, "resourcetype": "UserVm"}
    walk("addResourceDetail", **detail, **{"details[0].key": "note", "details[0].value": "n"})
    walk("removeResourceDetail", key="note", **detail)
    nightly = {"action": "STOP", "schedule": "0 22 * * *", "timezone": "GMT"}
    schedule = walk("createVMSchedule", virtualmachineid=one, **nightly)["id"]
    walk("updateVMSchedule", id=schedule, schedule="0 23 * * *")
    walk("deleteVMSchedule", virtualmachineid=one, id=schedule)
    disc = {"name": "disc", "displaytext": "disc", "url": "http://images.example/e.iso", "bootable": False}
    ids["disc"] = disc_id = walk("registerIso", zoneid=ids["zone"], ostypeid=ids["os"], **disc)["id"]
    walk.cloud.work()
    walk("attachIso", id=disc_id, virtualmachineid=one)
    walk("detachIso", virtualmachineid=one)
    walk("extractIso", id=disc_id, zoneid=ids["zone"], **DOWNLOAD)
    walk("migrateVirtualMachineWithVolume", virtualmachineid=one, autoselect=True)
    walk("stopVirtualMachine", id=one)
    data = walk("registerUserData", name="mine", userdata="eA==")["id"]
    walk("resetUserDataForVirtualMachine", id=one, userdataid=data)
    walk("linkUserDataToTemplate", isoid=disc_id, userdataid=data)
    walk("updateVmNicIp", nicid=vm["nic"][0]["id"], ipaddress="10.1.1.77")
    walk("updateTemplate", id=ids["template"], passwordenabled=True)
    walk("resetPasswordForVirtualMachine", id=one)
    walk("updateTemplate", id=ids["template"], passwordenabled=False)
    given = walk("deployVirtualMachine", name="given", keypair="kept", **machine)["id"]
    walk("stopVirtualMachine", id=given)
    walk("assignVirtualMachine", virtualmachineid=given, account="visitor", domainid=ids["root"])
    gone = walk("deployVirtualMachine", name="gone", **machine)
    walk("unmanageVirtualMachine", id=gone["id"])
    strangers(walk)
    place = {"clusterid": ids["cluster"], "serviceofferingid": ids["offering"]}
    network = {"nicnetworklist[0].nic": MAC, "nicnetworklist[0].network": ids["second"]}
    walk("importUnmanagedInstance", name="stranger", **place, **network)
    disk = {"storageid": ids["pool"], "diskpath": "lonely", "networkid": ids["second"], "name": "from-disk"}
    walk("importVm", zoneid=ids["zone"], hypervisor="Simulator", importsource="shared", **place, **disk)


def strangers(walk: Walk) -> None:
    """A machine and disks that nobody here made."""

    def make(tx: Any) -> None:
        for name in ("old-root", "lonely", "foreign"):
            tx.add(SimulatedDisk(pool=walk.ids["pool"], name=name, size=GIB, backing="", content=7, call=""))
        values = {"cpus": 1, "memory": GIB, "nics": [MAC], "disks": ["old-root"], "machine": "stranger"}
        tx.add(SimulatedMachine(name="stranger", host=walk.ids["host"], state="Stopped", call="", **values))

    write(make)


def disks(walk: Walk) -> None:
    ids, zone = walk.ids, {"zoneid": walk.ids["zone"]}
    small = walk("createDiskOffering", name="one", displaytext="one", disksize=1)["id"]
    large = walk("createDiskOffering", name="two", displaytext="two", disksize=2)["id"]
    disk = walk("createVolume", name="data", diskofferingid=small, storageid=ids["pool"], **zone)["id"]
    walk("checkVolume", id=disk)
    walk("changeOfferingForVolume", id=disk, diskofferingid=large)
    walk("migrateVolume", volumeid=disk, storageid=ids["createStoragePool2"])
    walk("assignVolume", volumeid=disk, accountid=ids["visitor"])
    walk("importVolume", path="foreign", storageid=ids["pool"])
    kept = walk("createVolume", name="kept", diskofferingid=small, storageid=ids["pool"], **zone)["id"]
    walk("unmanageVolume", id=kept)
    walk("uploadVolume", name="up", url="http://images.example/a.qcow2", format="QCOW2", **zone)
    root = walk.cloud.ask("listVolumes", virtualmachineid=ids["machine"], type="ROOT")["volume"][0]["id"]
    ids["snapshot"] = snapshot = walk("createSnapshot", volumeid=root, name="s")["id"]
    walk("revertSnapshot", id=snapshot)
    walk("extractSnapshot", id=snapshot, **zone)
    kept = walk("createVMSnapshot", virtualmachineid=ids["machine"], name="vs")["id"]
    walk("createSnapshotFromVMSnapshot", volumeid=root, vmsnapshotid=kept)


def images(walk: Walk) -> None:
    ids, zone = walk.ids, {"zoneid": walk.ids["zone"]}
    upload = {"name": "sent", "displaytext": "sent", **zone}
    walk("getUploadParamsForVolume", format="QCOW2", **upload)
    walk("getUploadParamsForIso", format="ISO", ostypeid=ids["os"], **upload)
    walk("getUploadParamsForTemplate", format="QCOW2", hypervisor="KVM", ostypeid=ids["os"], **upload)
    west, pod = zone_with_pod(walk.cloud, "west")
    host(walk.cloud, west, pod, cluster(walk.cloud, west, pod), "http://sim/west/h1")  # who copies what is simulated
    walk("addImageStore", provider="NFS", url="nfs://192.0.2.7/west", zoneid=west)
    made = {"name": "copied", "displaytext": "copied", "ostypeid": ids["os"], "snapshotid": ids["snapshot"]}
    template = walk("createTemplate", **made)["id"]
    walk("extractTemplate", id=template, **zone, **DOWNLOAD)
    copied = {"sourcezoneid": ids["zone"], "destzoneids": west}
    walk("copyTemplate", id=template, **copied)
    walk("copyIso", id=ids["disc"], **copied)
    walk("copySnapshot", id=ids["snapshot"], destzoneids=west)
    second = walk("addSecondaryStorage", url="nfs://192.0.2.7/second", **zone)["id"]
    first = ids["addImageStore1"]
    walk("updateImageStore", id=second, name="second")
    walk("migrateResourceToAnotherSecondaryStorage", srcpool=first, destpool=second, templates=template)
    walk("migrateSecondaryStorageData", srcpool=second, destpools=first)
    walk("deleteImageStore", id=second)
    with reading() as session:
        path = session.scalars(select(SnapshotOnStore.path)).first()
    walk("downloadImageStoreObject", id=first, path=path)
    walk("deleteIso", id=ids["disc"])
