# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server in memory knows of disks, snapshots, ISOs and groups of machines."""

from __future__ import annotations

from urllib.parse import unquote_plus

INTERVALS = ["HOURLY", "DAILY", "WEEKLY", "MONTHLY"]
GIB = 2**30


def extend(cloud, refused):
    """Teach a server in memory all of it; ``refused`` is what it raises with a code and a text."""
    for kind, words, start in (
        ("volume", "Volumes create update delete", {"type": "DATADISK", "state": "Ready"}),
        ("snapshot", "Snapshots create none delete jobs", {"state": "BackedUp"}),
        ("iso", "Isos register update delete many", {"isready": True, "bootable": True}),
        ("instancegroup", "InstanceGroups create update delete", {}),
        ("affinitygroup", "AffinityGroups create none delete jobs", {}),
        ("userdata", "UserDatas register none delete", {}),
    ):
        cloud.kinds[kind] = {}
        cloud.register(kind, words.split(), {}, start)
    for teach in (volumes, snapshots, policies, machine_snapshots, images, drives, transfers):
        teach(cloud)
    machines(cloud, refused)
    return cloud


def born(cloud, kind, more):
    """Add to what a new entity of a kind has; ``more`` takes the entity and the parameters."""
    before = cloud.born

    def bearing(of, entity, params):
        return {**before(of, entity, params), **(more(entity, params) if of == kind else {})}

    cloud.born = bearing


def volumes(cloud):
    """Disks: sizes in bytes, and the machines that have them. Each machine has a root disk."""

    def sized(entity, params):
        return {"size": int(params["size"]) * GIB} if "size" in params else {}

    def rooted(entity, params):
        owned = {"type": "ROOT", "virtualmachineid": entity["id"], "vmname": entity.get("name"), "state": "Ready"}
        cloud.add("volume", {"name": f"ROOT-{entity['id']}", "zoneid": entity.get("zoneid"), "size": GIB, **owned})
        return {}

    def placed(params):
        volume = cloud.get("volume", params)
        if "virtualmachineid" in params:
            volume["virtualmachineid"] = params["virtualmachineid"]
        else:
            del volume["virtualmachineid"]
        return cloud.job({"volume": volume})

    def resize(params):
        volume = cloud.get("volume", params)
        volume.update(sized(volume, params))
        volume.update({name: params[name] for name in ("diskofferingid",) if name in params})
        return cloud.job({"volume": volume})

    def create(params):
        answer = plain(params)["volume"]
        return cloud.job({"volume": answer}, id=answer["id"])

    plain = cloud.commands["createVolume"]
    born(cloud, "volume", sized)
    born(cloud, "virtualmachine", rooted)
    cloud.commands.update(
        createVolume=create,
        attachVolume=placed,
        detachVolume=placed,
        resizeVolume=resize,
        destroyVolume=cloud.setter("volume", "state", "Destroy", job=True),
        recoverVolume=cloud.setter("volume", "state", "Ready"),
    )


def snapshots(cloud):
    """Going back to a snapshot of a disk."""
    cloud.commands["revertSnapshot"] = lambda params: cloud.job({"snapshot": cloud.get("snapshot", params)})


def policies(cloud):
    """Policies: one of each interval for a disk, and another takes its place."""
    kept = cloud.kinds["snapshotpolicy"] = {}

    def create(params):
        number = INTERVALS.index(params["intervaltype"])
        volume = cloud.get("volume", {"id": params["volumeid"]})
        wanted = {**params, "intervaltype": number, "volumename": volume["name"]}
        same = [p for p in kept.values() if (p["volumeid"], p["intervaltype"]) == (params["volumeid"], number)]
        policy = same[0] if same else cloud.add("snapshotpolicy", {})
        names = ("volumeid", "volumename", "intervaltype", "schedule", "timezone", "maxsnaps")
        policy.update({name: wanted[name] for name in names})
        return {"snapshotpolicy": policy}

    def delete(params):
        del kept[params["id"]]
        return {"success": True}

    cloud.commands.update(
        createSnapshotPolicy=create,
        deleteSnapshotPolicies=delete,
        listSnapshotPolicies=lambda params: cloud.listing("snapshotpolicy", "snapshotpolicy", params),
    )


def machine_snapshots(cloud):
    """Snapshots of machines, whose parameters have names of their own."""
    kept = cloud.kinds["vmsnapshot"] = {}

    def create(params):
        kind = "DiskAndMemory" if params.get("snapshotmemory") == "true" else "Disk"
        more = {"displayname": params["name"], "type": kind, "virtualmachineid": params["virtualmachineid"]}
        return cloud.job({"vmsnapshot": cloud.add("vmsnapshot", {"name": "i-2-7-VM_VS_1", "state": "Ready", **more})})

    def delete(params):
        del kept[params["vmsnapshotid"]]
        return cloud.job({"success": True})

    def listing(params):
        found = {name: value for name, value in params.items() if name != "name"}
        answer = cloud.listing("vmsnapshot", "vmSnapshot", found)
        named = [s for s in answer.get("vmSnapshot", ()) if params.get("name") in (None, s["name"], s["displayname"])]
        return {"count": len(named), "vmSnapshot": named} if named else {}

    cloud.commands.update(createVMSnapshot=create, deleteVMSnapshot=delete, listVMSnapshot=listing)
    cloud.commands["revertToVMSnapshot"] = lambda params: cloud.job({"virtualmachine": {}})


def images(cloud):
    """ISOs and who may use them; user data, whose list is called differently."""

    def permissions(params):
        cloud.update("iso", params, {})
        return {"success": True}

    def register(params):
        made = cloud.add("userdata", {name: params[name] for name in ("name", "userdata", "params") if name in params})
        return {"userdata": made}

    delete = cloud.commands["deleteIso"]
    cloud.commands["deleteIso"] = lambda params: cloud.job(delete(params))
    cloud.commands["updateIsoPermissions"] = permissions
    cloud.commands["registerUserData"] = register
    cloud.commands["deleteUserData"] = cloud.commands.pop("deleteUserDatas", cloud.commands["deleteUserData"])
    cloud.commands["listUserData"] = cloud.commands.pop("listUserDatas")


def drives(cloud):
    """What is done to machines beside their own commands."""

    def iso(params):
        machine = cloud.get("virtualmachine", {"id": params["virtualmachineid"]})
        machine.pop("isoid", None)
        if "id" in params:
            machine["isoid"] = params["id"]
        return cloud.job({"virtualmachine": machine})

    cloud.commands.update(attachIso=iso, detachIso=iso)


def transfers(cloud):
    """Images that forms send, and links to them."""

    def ticket(kind):
        def handler(params):
            made = cloud.add(kind, {**params, "isready": True})
            signed = {"signature": f"signed {made['id']}", "expires": "soon", "metadata": "coded"}
            url = f"http://cloud.test:8080/upload/{made['id']}"
            return {"getuploadparams": {"id": made["id"], "postURL": url, **signed}}

        return handler

    def link(params):
        return cloud.job({"template": {"id": params["id"], "url": f"http://cloud.test:8080/userdata/{params['id']}"}})

    for kind, name in (("template", "Template"), ("iso", "Iso"), ("volume", "Volume")):
        cloud.commands[f"getUploadParamsFor{name}"] = ticket(kind)
        cloud.commands[f"extract{name}"] = link


TUNED = {
    "nicmultiqueuenumber": "nic.multiqueue.number",
    "nicpackedvirtqueuesenabled": "nic.packed.virtqueues.enabled",
    "iothreadsenabled": "iothreads",
    "iodriverpolicy": "io.policy",
}
LEASE = ("leaseduration", "leaseexpiryaction")


def machines(cloud, refused):
    """What of machines' options is kept elsewhere than under its name, or changes while they are stopped alone."""

    def placed(machine, params):
        machine.setdefault("displayvm", True)
        for name, key in TUNED.items():
            if name in params:
                machine["details"] = {**machine.get("details", {}), key: params[name]}
        if "extraconfig" in params:
            kept = {k: v for k, v in machine.get("details", {}).items() if not k.startswith("extraconfig")}
            machine["details"] = {**kept, **configured(unquote_plus(params["extraconfig"]))}
        for row in params.get("dhcpoptionsnetworklist", ()):
            (nic,) = [nic for nic in machine["nic"] if nic["networkid"] == row["networkid"]]
            codes = {name[5:]: value for name, value in row.items() if name.startswith("dhcp:")}
            told = [{"extradhcpoptioncode": int(code), "extradhcpvalue": value} for code, value in codes.items()]
            nic["extradhcpoption"] = told
        if "leaseduration" in params:
            ends = params["leaseduration"] == "-1"
            machine.update({n: None if ends else int(params[n]) if n == LEASE[0] else params[n] for n in LEASE})
        if "customid" in params:
            kept = cloud.kinds["virtualmachine"]
            kept[params["customid"]] = kept.pop(machine["id"])
            for disk in cloud.kinds["volume"].values():
                if disk.get("virtualmachineid") == machine["id"]:
                    disk["virtualmachineid"] = params["customid"]
            machine["id"] = params["customid"]
        for name in (*TUNED, "extraconfig", "dhcpoptionsnetworklist", "customid"):
            machine.pop(name, None)
        return {}

    def update(params):
        machine = cloud.get("virtualmachine", params)
        if machine["state"] != "Stopped" and {"details", "extraconfig", "customid"} & set(params):
            raise refused(431, "stop it before changing its details")
        if "leaseduration" in params and machine.get("leaseduration") is None:
            raise refused(431, "has no lease that could be changed")
        extra = {k: v for k, v in machine.get("details", {}).items() if k.startswith("extraconfig")}
        cloud.update("virtualmachine", params, {})
        if extra and "details" in params:
            machine["details"].update(extra)
        placed(machine, params)
        return {"virtualmachine": machine}

    def configured(text):
        found = [piece.strip() for piece in text.split("\n\n")]
        return {f"extraconfig-{number}": piece for number, piece in enumerate(found, 1)}

    born(cloud, "virtualmachine", placed)
    cloud.commands["updateVirtualMachine"] = update
