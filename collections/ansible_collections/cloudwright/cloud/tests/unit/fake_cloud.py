# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A management server in memory: enough of the API for every module of the collection.

Requests are taken in fake_wire.py.  Here is what is there and what commands do, page by page and with jobs, so that
these are under test with the modules.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from urllib.parse import urlsplit

from ansible_collections.cloudwright.cloud.tests.unit import fake_compute, fake_hosts, fake_identity
from ansible_collections.cloudwright.cloud.tests.unit.fake_wire import FakeWire, Refused

PAGE = 500
WIRE = ("command", "response", "apikey", "signatureversion", "expires")
NUMBERS = {"cpunumber", "cpuspeed", "memory", "disksize", "networkrate", "rootdisksize", "maxconnections"}


def table():
    """kind -> its commands and habits.

    commands  list, create, update, delete
    rename    parameter -> field of answers
    start     fields of a new entity
    jobs      the commands that answer with a job
    many      the create command answers with a list of one
    """
    zone = {"allocationstate": "Disabled"}
    enabled = {"allocationstate": "Enabled"}
    disabled, active = {"state": "Disabled"}, {"state": "Active"}
    return {
        "zone": ("Zones create update delete", {"securitygroupenabled": "securitygroupsenabled"}, zone),
        "physicalnetwork": ("PhysicalNetworks create update delete jobs", {}, disabled),
        "traffictype": ("TrafficTypes add update delete jobs", {}, {}),
        "networkserviceprovider": ("NetworkServiceProviders add update delete jobs", {}, disabled),
        "virtualrouterelement": ("VirtualRouterElements create configure delete jobs", {}, {"enabled": False}),
        "pod": ("Pods create update delete", {}, enabled),
        "cluster": (
            "Clusters add update delete many",
            {"clustername": "name", "hypervisor": "hypervisortype"},
            enabled,
        ),
        "host": ("Hosts add update delete many", {}, {"type": "Routing", "resourcestate": "Enabled"}),
        "storagepool": ("StoragePools create update delete", {}, {"state": "Up", "type": "NetworkFilesystem"}),
        "imagestore": ("ImageStores add update delete", {"provider": "providername"}, {}),
        "vlan": ("VlanIpRanges create update delete", {}, {}),
        "serviceoffering": (
            "ServiceOfferings create update delete",
            {"tags": "storagetags", "customized": "iscustomized"},
            active,
        ),
        "diskoffering": ("DiskOfferings create update delete", {"customized": "iscustomized"}, active),
        "networkoffering": ("NetworkOfferings create update delete", {}, disabled),
        "network": ("Networks create update delete", {}, {"state": "Allocated"}),
        "template": ("Templates register update delete many", {}, {"isready": False, "status": "Processing"}),
        "sshkeypair": ("SSHKeyPairs register none delete", {}, {}),
        "virtualmachine": ("VirtualMachines deploy update none jobs", {}, {"state": "Running", "nic": []}),
        "configuration": ("Configurations none update none", {}, {}),
        "user": ("Users create update delete", {}, {}),
        "domain": ("Domains create update delete", {}, {}),
        "ostype": ("OsTypes add update remove", {}, {}),
        "affinitygroup": ("AffinityGroups create none delete", {}, {}),
        "securitygroup": ("SecurityGroups create none delete", {}, {}),
    }


class FakeCloud(FakeWire):
    """Entities by kind, commands by name."""

    def __init__(self):
        super().__init__()
        self.kinds = {kind: {} for kind in table()}
        self.jobs = {}
        self.page = PAGE
        for kind, (words, rename, start) in table().items():
            self.register(kind, words.split(), rename, start)
        for state, name in (("Stopped", "stop"), ("Running", "start"), ("Running", "reboot")):
            self.commands[f"{name}VirtualMachine"] = self.setter("virtualmachine", "state", state, job=True)
        self.commands["recoverVirtualMachine"] = self.setter("virtualmachine", "state", "Stopped")
        self.commands["scaleVirtualMachine"] = lambda p: self.job(self.update("virtualmachine", p, {}))
        self.commands["updateVMAffinityGroup"] = lambda p: self.job(self.update("virtualmachine", p, {}))
        self.commands["prepareHostForMaintenance"] = self.setter("host", "resourcestate", "Maintenance", job=True)
        self.commands["cancelHostMaintenance"] = self.setter("host", "resourcestate", "Enabled", job=True)
        self.commands["enableStorageMaintenance"] = self.setter("storagepool", "state", "Maintenance", job=True)
        self.commands["cancelStorageMaintenance"] = self.setter("storagepool", "state", "Up", job=True)
        self.seed()

    def seed(self):
        """What a new server has."""
        root = self.add("domain", {"name": "ROOT", "path": "ROOT"})["id"]
        self.add("user", {"username": "admin", "account": "admin", "domainid": root})
        self.add("ostype", {"description": "Other Linux (64-bit)", "name": "Other Linux (64-bit)"})
        self.add("configuration", {"name": "expunge.delay", "value": "86400", "defaultvalue": "86400"})
        self.add("serviceoffering", {"name": "Small Instance", "cpunumber": 1, "memory": 512})
        self.add("serviceoffering", {"name": "Medium Instance", "cpunumber": 1, "memory": 1024})
        for name, kind in (
            ("DefaultSharedNetworkOffering", "Shared"),
            ("DefaultIsolatedNetworkOfferingWithSourceNatService", "Isolated"),
        ):
            self.add("networkoffering", {"name": name, "guestiptype": kind, "state": "Enabled"})

    # -- commands ---------------------------------------------------------------------------------------------------

    def register(self, kind, words, rename, start):
        """The four commands of a kind."""
        plural, create, update, delete = words[:4]
        jobs = self.job if "jobs" in words else (lambda answer: answer)
        one = plural[:-1]
        listed = {"vlan": "vlaniprange"}.get(kind, kind)
        made = {"sshkeypair": "keypair"}.get(kind, kind)

        def listing(params):
            return self.listing(kind, listed, params)

        def creating(params):
            entity = self.add(kind, {**start, **shown(kind, params, rename)})
            entity.update(self.born(kind, entity, params))
            if "jobs" in words:
                return self.job({made: entity}, id=entity["id"])
            return {"count": 1, made: [entity]} if "many" in words else {made: public(kind, entity)}

        def removing(params):
            entity = self.get(kind, params)
            if kind in ("host", "storagepool") and params.get("forced") != "true":
                if entity["resourcestate" if kind == "host" else "state"] != "Maintenance":
                    raise Refused(530, f"{kind} is not in maintenance")
            del self.kinds[kind][entity["id"]]
            return jobs({"success": True})

        self.commands[f"list{plural}"] = listing
        self.commands[f"{create}{one}"] = creating
        self.commands[f"{update}{one}"] = lambda params: jobs(self.update(kind, params, rename))
        self.commands[f"{delete}{one}"] = removing

    def setter(self, kind, field, value, job=False):
        """A command that sets one field."""

        def handler(params):
            entity = self.get(kind, params)
            entity[field] = value
            return self.job({kind: entity}) if job else {kind: entity}

        return handler

    def add(self, kind, entity):
        """A new entity with an id."""
        entity = {**entity, "id": str(uuid.uuid4())}
        self.kinds[kind][entity["id"]] = entity
        return entity

    def get(self, kind, params):
        """The entity that a command names."""
        for entity in self.kinds[kind].values():
            if entity["id"] == params.get("id") or ("id" not in params and entity.get("name") == params["name"]):
                return entity
        raise Refused(431, f"Invalid parameter id value={params.get('id')}")

    def update(self, kind, params, rename):
        """Change what is given."""
        entity = self.get(kind, params)
        entity.update(shown(kind, {k: v for k, v in params.items() if k != "id"}, rename))
        if kind == "host" and "allocationstate" in params:
            entity["resourcestate"] = params["allocationstate"] + "d"
        if kind == "storagepool" and "enabled" in params:
            entity["state"] = "Up" if params["enabled"] == "true" else "Disabled"
        return {kind: public(kind, entity)}

    def born(self, kind, entity, params):
        """What the server adds to a new entity."""
        if kind == "physicalnetwork":
            for name in ("VirtualRouter", "VpcVirtualRouter", "SecurityGroupProvider"):
                more = {"name": name, "physicalnetworkid": entity["id"], "state": "Disabled"}
                provider = self.add("networkserviceprovider", more)
                if name != "SecurityGroupProvider":
                    self.add("virtualrouterelement", {"nspid": provider["id"], "enabled": False})
        if kind == "host":
            return {"name": f"SimulatedAgent.{entity['id']}", "state": "Connecting"}
        if kind == "storagepool":
            parts = urlsplit(params["url"])
            return {"ipaddress": parts.hostname, "path": parts.path}
        if kind == "virtualmachine" and params.get("startvm") == "false":
            return {"state": "Stopped"}
        return {}

    def listing(self, kind, listed, params):
        """Filter by the parameters that are fields, and cut a page."""
        found = []
        params = {name: value for name, value in params.items() if name not in WIRE}
        for entity in self.kinds[kind].values():
            wanted = {k: v for k, v in params.items() if k in entity and not isinstance(entity[k], (list, dict))}
            if kind == "virtualmachine" and "name" in wanted:  # the real one looks for a part of the name
                wanted.pop("name")
                if params["name"] not in entity["name"]:
                    continue
            if "id" in params and params["id"] not in self.kinds[kind]:
                raise Refused(431, f"Invalid parameter id value={params['id']}")
            if all(plain(entity[k]) == v for k, v in wanted.items() if k != "state" or kind != "host"):
                found.append(public(kind, entity))
        for entity in self.kinds[kind].values():  # what was seen once has come about the next time
            if kind == "host":
                entity["state"] = "Up"
            if kind == "template":
                entity.update(isready=True, status="Download Complete")
        size, page = min(int(params.get("pagesize", PAGE)), self.page), int(params.get("page", 1))
        part = found[(page - 1) * size : page * size]
        return {"count": len(found), listed: part} if found else {}

    # -- jobs -------------------------------------------------------------------------------------------------------

    def job(self, result, **more):
        """A job that is over at the second look."""
        ident = str(uuid.uuid4())
        self.jobs[ident] = [{"jobstatus": 0}, {"jobstatus": 1, "jobresult": json.loads(json.dumps(result))}]
        return {"jobid": ident, **more}


def job_status(cloud, params):
    """queryAsyncJobResult"""
    looks = cloud.jobs[params["jobid"]]
    return looks.pop(0) if len(looks) > 1 else looks[0]


def user_keys(cloud, params, new):
    """getUserKeys and registerUserKeys, which alone tells the secret"""
    user = cloud.get("user", params)
    if new:
        user.update(apikey=str(uuid.uuid4()), secretkey=str(uuid.uuid4()))
    told = ("apikey", "secretkey") if new else ("apikey",)
    return {"userkeys": {k: user[k] for k in told if k in user}}


def extend(cloud):
    """The commands that follow no pattern."""
    add = cloud.commands.__setitem__
    add("queryAsyncJobResult", lambda p: job_status(cloud, p))
    add("getUserKeys", lambda p: user_keys(cloud, p, False))
    add("registerUserKeys", lambda p: user_keys(cloud, p, True))
    add("restartNetwork", lambda p: cloud.job({"success": bool(cloud.get("network", p))}))
    add(
        "deleteNetwork",
        lambda p: cloud.job({"success": bool(cloud.kinds["network"].pop(cloud.get("network", p)["id"]))}),
    )
    add("updateNetwork", lambda p: cloud.job(cloud.update("network", p, {})))
    plain_delete = cloud.commands["deleteTemplate"]
    add("deleteTemplate", lambda p: cloud.job(plain_delete(p)))

    def permissions(params):
        cloud.update("template", params, {})
        return {"success": True}

    def destroy(params):
        machine = cloud.get("virtualmachine", params)
        machine["state"] = "Destroyed"
        if params.get("expunge") == "true":
            return expunge(params)
        return cloud.job({"virtualmachine": machine})

    def expunge(params):
        cloud.kinds["virtualmachine"].pop(params["id"])
        return cloud.job({"success": True})

    def make_key(params):
        pair = cloud.add("sshkeypair", {"name": params["name"], "fingerprint": "00:11"})
        return {"keypair": {**pair, "privatekey": "-----BEGIN"}}

    add("updateTemplatePermissions", permissions)
    add("destroyVirtualMachine", destroy)
    add("expungeVirtualMachine", expunge)
    add("createSSHKeyPair", make_key)
    return cloud


def plain(value):
    """A field as a parameter would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown(kind, params, rename):
    """Parameters as the fields that answers show."""
    entity = {}
    for name, value in params.items():
        if name in WIRE or (name == "url" and kind in ("host", "storagepool")):
            continue
        if name in NUMBERS:
            value = int(value)
        elif value in ("true", "false"):
            value = value == "true"
        if name == "serviceproviderlist":
            entity["service"] = [{"name": p["service"], "provider": [{"name": p["provider"]}]} for p in value]
        elif name == "networkids":
            entity["nic"] = [{"networkid": ident, "ipaddress": "10.92.0.50"} for ident in value.split(",")]
        elif name == "publickey":
            body = base64.b64decode(value.split()[1])
            entity["fingerprint"] = hashlib.md5(body).hexdigest()  # noqa: S324
            entity["fingerprint"] = ":".join(re.findall("..", entity["fingerprint"]))
        elif name == "vlan" and kind == "vlan":
            entity["vlan"] = f"vlan://{value}"
        elif name == "details":
            entity["details"] = value[0]
        elif name not in ("supportedservices", "startvm", "userdata"):
            entity[rename.get(name, name)] = value
    return entity


def public(kind, entity):
    """An entity as answers show it."""
    entity = dict(entity)
    if kind == "pod":
        entity.update(startip=[entity["startip"]], endip=[entity.get("endip")])
    entity.pop("password", None)
    return entity


def new_cloud():
    """A fresh server."""
    return fake_hosts.extend(fake_compute.extend(fake_identity.extend(extend(FakeCloud()), Refused), Refused))
