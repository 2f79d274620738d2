# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is made of and how it differs from what a task says.  Private to this collection."""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup

SIZES = {"cpu_number": "cpuNumber", "cpu_speed": "cpuSpeed", "memory": "memory"}


def ids(entries, name="id"):
    """The ids in a list of an answer."""
    return [entry[name] for entry in entries or []]


def check(params):
    """What AnsibleModule cannot tell."""
    if params["state"] == "reinstalled" and params["iso"] and not params["template"]:
        raise ApiError("a machine is reinstalled from what it was made of: leave iso out")


def place(run):
    """The filters of what is looked for in the machine's zone, for its owner."""
    names = ("zone", "domain", "account", "project")
    return {run.entity.api(name): run.wanted(name) for name in names if run.wanted(name) is not None}


def source(run):
    """What a new machine starts from."""
    if run.params["iso"]:
        run.after["iso"] = disc(run)
    found = run.wanted("template") or disc(run)
    if not found:
        raise ApiError("a new vm needs template or iso")
    return found


def disc(run):
    """The id of the ISO that shall be in the drive; None where that shall be empty."""
    name = run.params["iso"]
    zone = {"zoneid": run.wanted("zone")} if run.wanted("zone") else {}
    return lookup(run.client, "iso", name, **zone)["id"] if name else None


def disks(run):
    """The data disks of a new machine."""
    if run.params["data_disks"] is None:
        return None
    run.after["data_disks"] = run.params["data_disks"]
    found = []
    for disk in run.params["data_disks"]:
        offering = lookup(run.client, "disk_offering", disk["disk_offering"])["id"]
        found.append({"diskofferingid": offering, **({"size": disk["size"]} if disk["size"] else {})})
    return found


def interfaces(run):
    """(network's id, address, MAC address) for each NIC that the task names; None where it does not say."""
    nics = run.params["nics"]
    if nics is not None:
        where = place(run)
        return [
            (lookup(run.client, "network", nic["network"], **where)["id"], nic["ip_address"], nic["mac_address"])
            for nic in nics
        ]
    return None if run.wanted("networks") is None else [(ident, None, None) for ident in run.wanted("networks")]


def new_interfaces(run):
    """The NICs of a new machine, where the task says more than the names of networks."""
    if run.params["nics"] is None:
        return None
    run.after["nics"] = run.params["nics"]
    return [
        {name: value for name, value in zip(("networkid", "ip", "mac"), nic, strict=True) if value}
        for nic in interfaces(run)
    ]


def size(run):
    """The size of a machine whose offering leaves it open, as one of its details."""
    return {api: run.params[name] for name, api in SIZES.items() if run.params[name] is not None}


def details(run):
    """The details of a new machine."""
    run.after.update({name: run.params[name] for name in SIZES if run.params[name] is not None})
    return {**(run.params["details"] or {}), **size(run)} or None


def differing(run, machine):
    """What other commands than the machine's own update change."""
    if machine.get("state") in ("Destroyed", "Expunging"):
        return
    named = {"virtualmachineid": machine["id"]}
    yield from scaling(run, machine)
    yield from connecting(run, machine, named)
    iso = run.params["iso"]
    wanted, have = (disc(run) if iso is not None else None), machine.get("isoid")
    if iso is not None and wanted != have:
        more = {"id": wanted, "forced": True} if wanted else {}
        yield "iso", have, wanted, "attachIso" if wanted else "detachIso", {**named, **more}
    host = run.wanted("host")
    if host and machine.get("state") == "Running" and host != machine.get("hostid", host):
        if run.params["state"] != "stopped":
            yield "host", machine["hostid"], host, "migrateVirtualMachine", {**named, "hostid": host}


def scaling(run, machine):
    """Another offering, or another size within one that leaves it open."""
    have, wanted = machine.get("serviceofferingid"), run.wanted("service_offering")
    fields = {"cpu_number": "cpunumber", "cpu_speed": "cpuspeed", "memory": "memory"}
    changed = {n: f for n, f in fields.items() if run.params[n] is not None and not same(run.params[n], machine.get(f))}
    if wanted in (None, have) and not changed:
        return
    shown = {SIZES[name]: machine.get(field) for name, field in fields.items()} if wanted in (None, have) else {}
    body = {"id": machine["id"], "serviceofferingid": wanted or have}
    if size(run):
        body["details"] = {**{k: v for k, v in shown.items() if v is not None}, **size(run)}
    for name, field in changed.items():
        run.note(name, machine.get(field), run.params[name])
    name, before, after = ("service_offering", have, wanted) if wanted not in (None, have) else (None, None, None)
    first = next(iter(changed), None)
    if name is None:
        name, before, after = first, machine.get(fields[first]), run.params[first]
    yield name, before, after, "scaleVirtualMachine", body


def connecting(run, machine, named):
    """NICs that are missing, have another address than asked for, should be the default one, or are too many."""
    wanted = interfaces(run)
    if wanted is None:
        return
    nics = machine.get("nic") or []
    there = {nic["networkid"]: nic for nic in nics}
    default = next((nic["networkid"] for nic in nics if nic.get("isdefault")), next(iter(there), None))
    if wanted and nics and wanted[0][0] not in there:
        raise ApiError("the first network is the default one: add a new one behind it first, then put it first")
    note = ("networks", ids(nics, "networkid"), [ident for ident, _address, _mac in wanted])
    for ident, address, mac in wanted:
        if ident not in there:
            more = {"networkid": ident, "ipaddress": address, "macaddress": mac}
            yield *note, "addNicToVirtualMachine", {**named, **more}
        elif address and address != there[ident].get("ipaddress"):
            before = there[ident].get("ipaddress")
            body = {"nicid": there[ident]["id"], "ipaddress": address}
            yield "ip_address", before, address, "updateVmNicIp", body
    if wanted and nics and wanted[0][0] != default:
        yield *note, "updateDefaultNicForVirtualMachine", {**named, "nicid": there[wanted[0][0]]["id"]}
    for ident, nic in there.items():
        if ident not in note[2]:
            yield *note, "removeNicFromVirtualMachine", {**named, "nicid": nic["id"]}
