"""A life of most kinds of things, as calls in their order: what each answers is compared with what was recorded.

A step is a command, what is sent (`{name}` is an id from before), and the name for the id that it gives.
"""

import re
from typing import Any

from mgmt_server.resources.router.timers import have_system_vms
from tests.clients.conftest import STEPS, first
from tests.cloud import Cloud

SMALL, DATA = "{offering}", "{diskoffering}"
PLACE = {"zoneid": "{zone}"}
MACHINE = {"templateid": "{template}", "serviceofferingid": SMALL, **PLACE}
ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"
FREE = {"name": "free", "displaytext": "free"}

TENANTS: list[tuple[str, dict[str, str], str]] = [
    ("createDomain", {"name": "shop"}, "domain"),
    ("updateDomain", {"id": "{domain}", "name": "store", "networkdomain": "shop.example"}, ""),
    ("createRole", {"name": "looker", "type": "User", "description": "looks"}, "role"),
    ("createRolePermission", {"roleid": "{role}", "rule": "list*", "permission": "allow"}, "rule"),
    ("updateRolePermission", {"roleid": "{role}", "ruleid": "{rule}", "permission": "deny"}, ""),
    ("deleteRolePermission", {"id": "{rule}"}, ""),
    ("updateRole", {"id": "{role}", "name": "onlooker"}, ""),
    ("deleteRole", {"id": "{role}"}, ""),
    ("createAccount", {"username": "shopkeeper", "password": "Long-enough-1", "email": "a@b.example",
                       "firstname": "S", "lastname": "K", "accounttype": "0", "domainid": "{domain}",
                       "networkdomain": "keeper.example"}, "account"),
    ("createUser", {"username": "helper", "password": "Long-enough-1", "email": "a@b.example", "firstname": "H",
                    "lastname": "P", "account": "shopkeeper", "domainid": "{domain}"}, "user"),
    ("updateUser", {"id": "{user}", "firstname": "Helper", "timezone": "Europe/Vienna"}, ""),
    ("registerUserKeys", {"id": "{user}"}, ""),
    ("listUsers", {"username": "shopkeeper", "domainid": "{domain}", "listall": "true"}, "keeper"),
    ("registerUserKeys", {"id": "{keeper}"}, ""),
    ("disableUser", {"id": "{user}"}, ""),
    ("enableUser", {"id": "{user}"}, ""),
    ("lockUser", {"id": "{user}"}, ""),
    ("deleteUser", {"id": "{user}"}, ""),
    ("updateAccount", {"id": "{account}", "newname": "keeper"}, ""),
    ("disableAccount", {"id": "{account}", "lock": "false"}, ""),
    ("enableAccount", {"id": "{account}"}, ""),
    ("deleteAccount", {"id": "{account}"}, ""),
    ("deleteDomain", {"id": "{domain}"}, ""),
    ("updateConfiguration", {"name": "session.timeout", "value": "31"}, ""),
    ("resetConfiguration", {"name": "session.timeout"}, ""),
    ("createSSHKeyPair", {"name": "made"}, ""),
    ("deleteSSHKeyPair", {"name": "made"}, ""),
    ("createSSHKeyPair", {"name": "kept"}, ""),
    ("registerUserData", {"name": "data", "userdata": "eA=="}, "userdata"),
    ("deleteUserData", {"id": "{userdata}"}, ""),
    ("createServiceOffering", {**FREE, "cpunumber": "1", "cpuspeed": "500", "memory": "256", "hosttags": "ssd",
                               "tags": "fast", "serviceofferingdetails[0].key": "k",
                               "serviceofferingdetails[0].value": "v"}, "free"),
    ("updateServiceOffering", {"id": "{free}", "displaytext": "freer"}, ""),
    ("createDiskOffering", {**FREE, "disksize": "1"}, "diskoffering"),
    ("createDiskOffering", {**FREE, "name": "larger", "disksize": "2"}, "larger"),
    ("updateDiskOffering", {"id": DATA, "displaytext": "freer"}, ""),
    ("createNetworkOffering", {**FREE, "guestiptype": "Isolated", "traffictype": "GUEST",
                               "supportedservices": "Dhcp,Dns", "serviceproviderlist[0].service": "Dhcp",
                               "serviceproviderlist[0].provider": "VirtualRouter",
                               "serviceproviderlist[1].service": "Dns",
                               "serviceproviderlist[1].provider": "VirtualRouter"}, "netoffering"),
    ("updateNetworkOffering", {"id": "{netoffering}", "state": "Enabled"}, ""),
    ("deleteNetworkOffering", {"id": "{netoffering}"}, ""),
    ("generateAlert", {"description": "said", "name": "SAID", "type": "99"}, ""),
]  # fmt: skip
MACHINES: list[tuple[str, dict[str, str], str]] = [
    ("createNetwork", {"name": "n", "displaytext": "n", "networkofferingid": "{isolated}", **PLACE}, "network"),
    ("createNetwork", {"name": "m", "displaytext": "m", "networkofferingid": "{isolated}", **PLACE}, "second"),
    ("createAffinityGroup", {"name": "apart", "type": "host anti-affinity", "description": "apart"},
     "group"),
    ("deployVirtualMachine", {**MACHINE, "name": "one", "networkids": "{network}", "keypair": "kept",
                              "group": "web"}, "vm"),
    ("updateVirtualMachine", {"id": "{vm}", "displayname": "first"}, ""),
    ("updateNetwork", {"id": "{network}", "displaytext": "net"}, ""),
    ("rebootVirtualMachine", {"id": "{vm}"}, ""),
    ("addNicToVirtualMachine", {"virtualmachineid": "{vm}", "networkid": "{second}"}, ""),
    ("addIpToNic", {"nicid": "{nic}"}, "address"),
    ("removeIpFromNic", {"id": "{address}"}, ""),
    ("removeNicFromVirtualMachine", {"virtualmachineid": "{vm}", "nicid": "{nic}"}, ""),
    ("addNicToVirtualMachine", {"virtualmachineid": "{vm}", "networkid": "{second}"}, ""),
    ("updateDefaultNicForVirtualMachine", {"virtualmachineid": "{vm}", "nicid": "{nic}"}, ""),
    ("createVolume", {"name": "v", "diskofferingid": DATA, **PLACE}, "volume"),
    ("attachVolume", {"id": "{volume}", "virtualmachineid": "{vm}"}, ""),
    ("resizeVolume", {"id": "{volume}", "diskofferingid": "{larger}"}, ""),
    ("updateVolume", {"id": "{volume}", "name": "w"}, ""),
    ("createSnapshot", {"volumeid": "{volume}", "name": "s"}, "snapshot"),
    ("createSnapshotPolicy", {"volumeid": "{volume}", "intervaltype": "DAILY", "schedule": "1:1", "timezone": "GMT",
                              "maxsnaps": "1"}, "policy"),
    ("updateSnapshotPolicy", {"id": "{policy}", "fordisplay": "true"}, ""),
    ("deleteSnapshotPolicies", {"id": "{policy}"}, ""),
    ("detachVolume", {"id": "{volume}"}, ""),
    ("registerIso", {"name": "d", "displaytext": "d", "url": "http://images.example/d.iso", "ostypeid": "{os}",
                     **PLACE}, "iso"),
    ("updateIso", {"id": "{iso}", "displaytext": "disc"}, ""),
    ("updateIsoPermissions", {"id": "{iso}", "ispublic": "true"}, ""),
    ("registerTemplate", {"name": "r", "displaytext": "r", "url": "http://images.example/r.vhd", "ostypeid": "{os}",
                          "format": "VHD", "hypervisor": "Simulator", **PLACE}, ""),
    ("prepareTemplate", {"templateid": "{template}", **PLACE}, ""),
    ("createTemplate", {"name": "t", "displaytext": "t", "ostypeid": "{os}", "snapshotid": "{snapshot}"}, "made"),
    ("updateTemplate", {"id": "{made}", "displaytext": "tt"}, ""),
    ("updateTemplatePermissions", {"id": "{made}", "ispublic": "true"}, ""),
    ("deleteTemplate", {"id": "{made}"}, ""),
    ("extractVolume", {"id": "{volume}", "mode": "HTTP_DOWNLOAD", **PLACE}, ""),
    ("deleteSnapshot", {"id": "{snapshot}"}, ""),
    ("destroyVolume", {"id": "{volume}"}, ""),
    ("recoverVolume", {"id": "{volume}"}, ""),
    ("deleteVolume", {"id": "{volume}"}, ""),
    ("createVMSnapshot", {"virtualmachineid": "{vm}", "name": "vs", "description": "all", "snapshotmemory": "true"},
     "vmsnapshot"),
    ("revertToVMSnapshot", {"vmsnapshotid": "{vmsnapshot}"}, ""),
    ("deleteVMSnapshot", {"vmsnapshotid": "{vmsnapshot}"}, ""),
    ("stopVirtualMachine", {"id": "{vm}"}, ""),
    ("resetSSHKeyForVirtualMachine", {"id": "{vm}", "keypair": "kept"}, ""),
    ("updateVMAffinityGroup", {"id": "{vm}", "affinitygroupids": "{group}"}, ""),
    ("scaleVirtualMachine", {"id": "{vm}", "serviceofferingid": "{medium}"}, ""),
    ("changeServiceForVirtualMachine", {"id": "{vm}", "serviceofferingid": SMALL}, ""),
    ("startVirtualMachine", {"id": "{vm}"}, ""),
    ("restoreVirtualMachine", {"virtualmachineid": "{vm}"}, ""),
    ("migrateVirtualMachine", {"virtualmachineid": "{vm}", "autoselect": "true"}, ""),
    ("restartNetwork", {"id": "{network}", "cleanup": "false"}, ""),
    ("destroyVirtualMachine", {"id": "{vm}"}, ""),
    ("recoverVirtualMachine", {"id": "{vm}"}, ""),
    ("destroyVirtualMachine", {"id": "{vm}"}, ""),
    ("expungeVirtualMachine", {"id": "{vm}"}, ""),
    ("deleteAffinityGroup", {"id": "{group}"}, ""),
    ("deleteNetwork", {"id": "{network}"}, ""),
]  # fmt: skip
PLACES: list[tuple[str, dict[str, str], str]] = [
    ("dedicateHost", {"hostid": "{host}", "domainid": "{root}"}, ""),
    ("releaseDedicatedHost", {"hostid": "{host}"}, ""),
    ("updateHost", {"id": "{host}", "hosttags": "ssd"}, ""),
    ("prepareHostForMaintenance", {"id": "{host}"}, ""),
    ("cancelHostMaintenance", {"id": "{host}"}, ""),
    ("reconnectHost", {"id": "{host}"}, ""),
    ("enableStorageMaintenance", {"id": "{pool}"}, ""),
    ("cancelStorageMaintenance", {"id": "{pool}"}, ""),
    ("updateStoragePool", {"id": "{pool}", "tags": "fast"}, ""),
    ("updateCluster", {"id": "{cluster}", "clustername": "c"}, ""),
    ("updatePod", {"id": "{pod}", "name": "p"}, ""),
    ("updateZone", {"id": "{zone}", "name": "z"}, ""),
    ("stopSystemVm", {"id": "{systemvm}"}, ""),
    ("startSystemVm", {"id": "{systemvm}"}, ""),
    ("rebootSystemVm", {"id": "{systemvm}"}, ""),
    ("deleteDiskOffering", {"id": DATA}, ""),
    ("deleteServiceOffering", {"id": "{free}"}, ""),
]


class Walk:
    """Calls in their order: each is asked, its job runs and has to end well, and what both answered is kept."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.ids: dict[str, str] = {}
        self.answers: dict[str, list[dict[str, Any]]] = {}  # by command, those of jobs as `job COMMAND`

    def __call__(self, command: str, *, user: str = "admin", **sent: Any) -> dict[str, Any]:
        """The object that the answer is about."""
        told = self.cloud.ask(command, user=user, **sent)
        self.answers.setdefault(command, []).append(told)
        if "jobid" in told and not command.startswith("list"):
            self.cloud.work()
            ended = self.cloud.ask("queryAsyncJobResult", jobid=told["jobid"])
            if ended["jobstatus"] != 1:
                raise AssertionError(f"{command}: {ended['jobresult']}")
            told = ended["jobresult"]
            self.answers.setdefault(f"job {command}", []).append(told)
        return first(told)

    def step(self, command: str, sent: dict[str, str], gives: str) -> None:
        filled = {k: re.sub(r"\{(\w+)\}", lambda m: self.ids[m[1]], v) for k, v in sent.items()}
        told = self(command, **filled)
        if gives:
            self.ids[gives] = told["id"]


def walked(cloud: Cloud) -> Walk:
    """Walk through all of it."""
    walk = Walk(cloud)
    ids = walk.ids
    for step in STEPS:
        walk.step(step["command"], step["sent"], step.get("gives", ""))
    have_system_vms()
    cloud.work()
    ids |= {"zone": ids["createZone1"], "host": ids["addHost1"], "pool": ids["createStoragePool1"]}
    ids |= {"cluster": ids["addCluster1"], "pod": ids["createPod1"]}
    finds = {
        "root": ("listDomains", {"name": "ROOT"}),
        "template": ("listTemplates", {"templatefilter": "featured"}),
        "offering": ("listServiceOfferings", {"name": "Small Instance"}),
        "medium": ("listServiceOfferings", {"name": "Medium Instance"}),
        "isolated": ("listNetworkOfferings", {"name": ISOLATED}),
        "os": ("listOsTypes", {"keyword": "Debian"}),
        "systemvm": ("listSystemVms", {}),
    }
    for name, (command, sent) in finds.items():
        ids[name] = first(cloud.ask(command, **sent))["id"]
    for command, sent, gives in [*TENANTS, *MACHINES, *PLACES]:
        if "{nic}" in sent.values():
            ids["nic"] = cloud.ask("listNics", virtualmachineid=ids["vm"], networkid=ids["second"])["nic"][0]["id"]
        walk.step(command, sent, gives)
    return walk
