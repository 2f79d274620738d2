"""A simulated cloud in which every list has something to tell, and all that it answers."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from sqlalchemy import select

from mgmt_server.api.command import registry
from mgmt_server.db import now, reading, write
from mgmt_server.model.account import User
from mgmt_server.model.event import Alert, Tag
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.router.timers import have_system_vms
from mgmt_server.resources.template.flows import in_zone
from mgmt_server.web.app import Asked
from mgmt_server.web.signature import digest
from tests.certificates import authority
from tests.cloud import Cloud
from tests.simulated import build

ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"
# what some lists must be asked with
WITH: dict[str, dict[str, str]] = {
    "listTemplates": {"templatefilter": "all"},
    "listTemplatePermissions": {"id": "{template}"},
    "listIsos": {"isofilter": "all"},
    "listIsoPermissions": {"id": "{iso}"},
    "listResourceDetails": {"resourcetype": "UserVm", "resourceid": "{machine}"},
    "listDetailOptions": {"resourcetype": "UserVm"},
    "listTrafficTypes": {"physicalnetworkid": "{physical}"},
    "listStorageProviders": {"type": "primary"},
    "queryAsyncJobResult": {"jobid": "{job}"},
    "getVMPassword": {"id": "{machine}"},
    "getVirtualMachineUserData": {"virtualmachineid": "{machine}"},
    "getCloudIdentifier": {"userid": "{user}"},
    "getUser": {"userapikey": "{key}"},
    "getUserKeys": {"id": "{user}"},
    "listProjectAccounts": {"projectid": "{project}"},
    "listProjectRoles": {"projectid": "{project}"},
    "listProjectRolePermissions": {"projectid": "{project}"},
    "findHostsForMigration": {"virtualmachineid": "{machine}"},
    "findStoragePoolsForMigration": {"id": "{disk}"},
    "listNics": {"virtualmachineid": "{machine}"},
    "listVMSchedule": {"virtualmachineid": "{machine}"},
    "listUnmanagedInstances": {"clusterid": "{cluster}"},
    "listVolumesForImport": {"storageid": "{pool}"},
    "listStoragePoolObjects": {"id": "{pool}"},
    "listImageStoreObjects": {"id": "{store}"},
    "listHostHAProviders": {"hypervisor": "KVM"},
    "listTemplateDirectDownloadCertificates": {"listhosts": "true"},
    "listAffectedVmsForStorageScopeChange": {"storageid": "{pool}", "clusterid": "{cluster}"},
}
SCOPED = {"listall": "true"}


def filled(cloud: Cloud) -> dict[str, str]:
    """Build it; names by which requests refer to what is there."""
    zone = build(hosts=2)
    ask, root = cloud.ask, {"zoneid": zone["zone"]}
    ask("updateConfiguration", name="api.throttling.enabled", value="true")
    ask("updateConfiguration", name="api.throttling.max", value="1000000")  # tests ask more than anybody
    zone["offering"] = ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    zone["networkoffering"] = ask("listNetworkOfferings", name=ISOLATED)["networkoffering"][0]["id"]
    zone["domain"] = ask("listDomains", name="ROOT")["domain"][0]["id"]
    small = ask("createDiskOffering", name="d", displaytext="d", disksize=1)["diskoffering"]["id"]
    zone["disk"] = cloud.job("createVolume", name="blank", diskofferingid=small, **root)["volume"]["id"]
    zone["keypair"] = ask("createSSHKeyPair", name="k")["keypair"]["name"]
    more = {"templateid": zone["template"], "serviceofferingid": zone["offering"]}
    vm = cloud.job("deployVirtualMachine", name="one", keypair="k", **root, **more)["virtualmachine"]
    accepted = ask("deployVirtualMachine", name="two", **root, **more)
    cloud.work()
    have_system_vms()
    cloud.work()
    zone |= {
        "machine": vm["id"],
        "network": vm["nic"][0]["networkid"],
        "job": accepted["jobid"],
    }
    cloud.account("ann")
    cloud.account("dora", kind=2, domain="/a/")

    def rows(tx: Any) -> None:
        tx.add(Alert(type=1, name="ALERT", subject="subject", content="content"))
        disk, place = tx.scalar(select(SimulatedDisk)), tx.scalar(select(Host.uuid))
        stranger = {"name": "stranger", "machine": "stranger", "state": "Stopped", "call": ""}
        tx.add(SimulatedMachine(host=place, disks=[disk.name], nics=["06:00:00:00:00:01"], **stranger))
        tx.add(SimulatedDisk(pool=zone["pool"], name="foreign.qcow2", size=1 << 30, backing="", content=1, call=""))
        for host in tx.scalars(select(Host)):
            host.tags, host.version, host.hypervisor_version, host.capabilities = "ssd", "1", "1", "hvm"
            host.statistics = {"cpu_used": 0, "load": 0.0, "memory_used": 0, "network_read": 1, "network_written": 1}
            host.last_pinged = now()
        in_zone(tx, tx.scalar(select(Template).where(Template.uuid == zone["template"])), tx.scalar(select(Zone.id)))
        for pool in tx.scalars(select(Pool)):
            pool.tags = "fast"
        machine = tx.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        machine.password, machine.user_data = "told to the holder of its key", "eA=="
        tx.add(
            Tag(resource_type="UserVm", resource_uuid=vm["id"], key="k", value="v",
                account_id=machine.account_id, domain_id=machine.domain_id)
        )  # fmt: skip

    write(rows)
    with reading() as session:
        admin = session.scalar(select(User).where(User.username == "admin"))
        zone |= {"user": admin.uuid, "admin": admin.uuid, "key": admin.api_key}
    _more(cloud, zone)
    ask("stopVirtualMachine", id=accepted["id"])  # stays in the queue, for lists of jobs
    return zone


def _more(cloud: Cloud, zone: dict[str, str]) -> None:
    """Subjects with commands of their own, as far as they are there."""
    trusted = {"certificate": authority()[0], "name": "images", "hypervisor": "Simulator", "zoneid": zone["zone"]}
    cloud.ask("uploadTemplateDirectDownloadCertificate", **trusted)
    made = {
        "addTrafficType": {"physicalnetworkid": zone["physical"], "traffictype": "Storage"},
        "createStorageNetworkIpRange": {
            "podid": zone["pod"], "gateway": "10.90.0.1", "netmask": "255.255.255.0", "startip": "10.90.0.5",
            "endip": "10.90.0.9",
        },
        "addNetworkServiceProvider": {"name": "VirtualRouter", "physicalnetworkid": zone["physical"]},
        "addOsCategory": {"name": "Mine"},
        "configureHAForHost": {"hostid": zone["hosts"].split(",")[0], "provider": "simulatorhaprovider"},
        "createInstanceGroup": {"name": "web"},
        "createAffinityGroup": {"name": "apart", "type": "host anti-affinity"},
        "registerUserData": {"name": "data", "userdata": "eA==", "params": "size"},
        "addAnnotation": {"entitytype": "VM", "entityid": zone["machine"], "annotation": "note"},
        "addResourceDetail": {
            "resourcetype": "UserVm", "resourceid": zone["machine"], "details[0].key": "note", "details[0].value": "n",
        },
    }  # fmt: skip
    for command, sent in made.items():
        if command in registry:
            (cloud.job if registry[command].is_async else cloud.ask)(command, **sent)
    disc = {
        "name": "disc",
        "url": "http://images.example/disc.iso",
        "zoneid": zone["zone"],
        "bootable": False,
        "ispublic": True,
        "ostypeid": cloud.ask("listOsTypes", keyword="Debian")["ostype"][0]["id"],
    }
    zone["iso"] = cloud.ask("registerIso", **disc)["iso"][0]["id"]
    root = {"domainid": zone["domain"]}  # for everybody, so that nothing else is kept from its place
    for kind in ("Zone", "Pod", "Cluster"):
        cloud.job(f"dedicate{kind}", **{f"{kind.lower()}id": zone[kind.lower()]}, **root)
    (kept,) = cloud.job("dedicateHost", hostid=zone["hosts"].split(",")[0], **root)["dedicatedhost"]
    zone["group"] = kept["affinitygroupid"]  # whoever deploys is in it
    cloud.ask(
        "dedicateGuestVlanRange", physicalnetworkid=zone["physical"], vlanrange="140-149", account="admin", **root
    )
    if "listNetworkServiceProviders" in registry and "createVirtualRouterElement" in registry:
        found = cloud.ask("listNetworkServiceProviders", name="VirtualRouter")["networkserviceprovider"]
        cloud.job("createVirtualRouterElement", nspid=found[0]["id"])
    _project(cloud, zone)
    disk = cloud.ask("listVolumes", virtualmachineid=zone["machine"], type="ROOT")["volume"][0]["id"]
    zone["snapshot"] = cloud.job("createSnapshot", volumeid=disk, name="whole")["snapshot"]["id"]
    hourly = {"intervaltype": "HOURLY", "schedule": "5", "timezone": "GMT", "maxsnaps": 1}
    cloud.ask("createSnapshotPolicy", volumeid=disk, **hourly)
    cloud.job("createVMSnapshot", virtualmachineid=zone["machine"], name="whole", description="all disks")
    nightly = {"action": "STOP", "schedule": "0 22 * * *", "timezone": "GMT"}
    cloud.ask("createVMSchedule", virtualmachineid=zone["machine"], **nightly)


def _project(cloud: Cloud, zone: dict[str, str]) -> None:
    """A project with a role that has a rule, and somebody who is invited."""
    zone["project"] = cloud.job("createProject", name="whole")["project"]["id"]
    role = cloud.ask("createProjectRole", projectid=zone["project"], name="reader")["projectrole"]["id"]
    rule = {"rule": "delete*", "permission": "deny", "projectroleid": role}
    cloud.ask("createProjectRolePermission", projectid=zone["project"], **rule)
    cloud.ask("updateConfiguration", name="project.invite.required", value="true")
    cloud.job("addAccountToProject", projectid=zone["project"], account="ann")
    cloud.ask("updateConfiguration", name="project.invite.required", value="false")


def raw(cloud: Cloud, user: str | None, sent: dict[str, str], secret: str = "", **more: Any) -> tuple[int, bytes, str]:
    """Status, body and media type of one signed request; parameters exactly as they are given."""
    pairs = dict(sent)
    if user is not None:
        with reading() as session:
            row = session.scalar(select(User).where(User.username == user))
        pairs["apiKey"] = row.api_key
        pairs["signature"] = base64.b64encode(digest(pairs, secret or row.secret_key)).decode()
    done = cloud.front.serve(Asked(more.get("method", "GET"), pairs))
    return done.status, done.body, done.media


def only_reads(name: str) -> bool:
    """Whether a command of this name changes nothing: asked twice it answers the same."""
    return name.startswith(("list", "get", "query", "find")) and not name.startswith("getUploadParamsFor")


def answers(cloud: Cloud, names: dict[str, str]) -> dict[str, tuple[Any, bytes]]:
    """Every command that only reads, asked as the administrator: content in JSON, and the XML."""
    found = {}
    for name, command in sorted(registry.items()):
        if not only_reads(name):
            continue
        sent = {k: v.format(**names) for k, v in WITH.get(name, {}).items()}
        told = {p.name for p in command.parameters}
        sent |= {k: v for k, v in SCOPED.items() if k in told}
        _, body, _ = raw(cloud, "admin", {"command": name, "response": "json", **sent})
        parsed = orjson.loads(body)
        _, xml, _ = raw(cloud, "admin", {"command": name, **sent})
        found[name] = parsed.get(command.response_name, parsed), xml  # an error shows as fields that nobody has
    return found
