# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is made of and how it differs from what a task says.  Private to this collection."""

from __future__ import annotations

import base64
import hashlib

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError, entity_of
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import by_id, by_name, lookup
from ansible_collections.cloudwright.cloud.plugins.module_utils._vm_options import (
    SIZES,
    configuring,
    detailing,
    first_dhcp_options,
    leasing,
    size,
    telling,
)


def ids(entries, name="id"):
    """The ids in a list of an answer."""
    return [entry[name] for entry in entries or []]


def encoded(text):
    """User data as requests have them."""
    return base64.b64encode(text.encode()).decode()


def check(params):
    """What AnsibleModule cannot tell."""
    if params["assign_from"] and not (params["account"] or params["project"]):
        raise ApiError("assign_from says where it comes from: account with domain, or project, says whose it shall be")
    if params["state"] == "reinstalled" and params["iso"] and not params["template"]:
        raise ApiError("a machine is reinstalled from what it was made of: leave iso out")
    if params["extra_config"] is not None and not params["extra_config"].strip():
        raise ApiError("extra_config is empty: what a machine has can be replaced, and cannot be taken away")


def place(run):
    """The filters of what is looked for in the machine's zone, for its owner."""
    names = ("zone", "domain", "account", "project")
    return {run.entity.api(name): run.wanted(name) for name in names if run.wanted(name) is not None}


def source(run):
    """What a new machine starts from."""
    if run.params["iso"]:
        run.after["iso"] = disc(run)
    if run.params["snapshot"] or run.params["volume"]:
        return None
    found = run.wanted("template") or disc(run)
    if not found:
        raise ApiError("a new vm needs template or iso, or else snapshot or volume")
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


def dhcp_options(run):
    """What the guest of a new machine is told by DHCP besides the usual."""
    return first_dhcp_options(run, place(run)) if run.params["dhcp_options"] is not None else None


def details(run):
    """The details of a new machine."""
    run.after.update({name: run.params[name] for name in SIZES if run.params[name] is not None})
    return {**(run.params["details"] or {}), **size(run)} or None


def differing(run, machine):
    """What other commands than the machine's own update change."""
    if machine.get("state") in ("Destroyed", "Expunging"):
        return
    named = {"virtualmachineid": machine["id"]}
    if run.moved:
        yield from assigning(run, machine, named)
    if not run.created:
        yield from resetting(run, machine, named)
    yield from scaling(run, machine)
    for changing in (detailing, configuring, leasing):
        yield from changing(run, machine)
    if not run.moved:
        yield from connecting(run, machine, named)
    if run.params["dhcp_options"]:
        yield from telling(run, machine, place(run))
    iso = run.params["iso"]
    wanted, have = (disc(run) if iso is not None else None), machine.get("isoid")
    if iso is not None and wanted != have:
        more = {"id": wanted, "forced": True} if wanted else {}
        yield "iso", have, wanted, "attachIso" if wanted else "detachIso", {**named, **more}
    yield from migrating(run, machine, named)


def aside(run):
    """The options that other commands see to than the machine's own update."""
    reinstalled = {"template"} if run.params["state"] == "reinstalled" else set()
    return (
        {"user_data", "user_data_name", "details"}
        | reinstalled
        | ({"domain", "account", "project", "ip_address"} if run.moved else set())
    )


def elsewhere(run):
    """The machine where another account or project still has it."""
    origin = run.params["assign_from"]
    if not origin:
        return None
    found = {"zoneid": run.wanted("zone")} if run.wanted("zone") else {}
    for kind in ("domain", "project"):
        if origin[kind]:
            found[f"{kind}id"] = lookup(run.client, kind, origin[kind])["id"]
    if origin["account"]:
        found["account"] = origin["account"]
    if run.params["id"]:
        return by_id(run.client, "vm", run.params["id"], **found)
    return by_name(run.client, "vm", run.params["name"], **found)


def assigning(run, machine, named):
    """Another owner, and networks of his."""
    whose = {run.entity.api(n): run.wanted(n) for n in ("domain", "account", "project") if run.wanted(n) is not None}
    networks = [ident for ident, _address, _mac in interfaces(run) or ()]
    before = machine.get("project") or machine.get("account")
    after = run.params["project"] or run.params["account"]
    body = {**named, **whose, "networkids": networks or None}
    yield "project" if run.params["project"] else "account", before, after, "assignVirtualMachine", body


def resetting(run, machine, named):
    """A new password, and user data that differ from what the guest can read."""
    if run.params["reset_password"]:
        yield "password", "as it is", "a new one", "resetPasswordForVirtualMachine", {"id": machine["id"]}
    found = reading(run, machine, named)
    for note in found[1:]:
        run.note(*note)
    for note in found[:1]:
        yield *note, "updateVirtualMachine", user_data_of(run, machine, named)


def reading(run, machine, named):
    """The options about user data that differ, each as (option, before, after)."""
    found = []
    text, registered, values = (run.wanted(name) for name in ("user_data", "user_data_name", "user_data_details"))
    have = told(run, named) if text is not None else None
    if text != have:
        found.append(("user_data", digest(have), digest(text)))
    if registered is not None and registered != machine.get("userdataid"):
        found.append(("user_data_name", machine.get("userdataid"), registered))
        run.predicted["userdataid"] = registered
    pairs = variables(machine.get("userdatadetails") or "")
    wanted = variables(",".join(f"{name}={value}" for name, value in (values or {}).items()))
    if values is not None and wanted != pairs:
        found.append(("user_data_details", *(digest(encoded(",".join(each))) for each in (pairs, wanted))))
    return found


def user_data_of(run, machine, named):
    """All of it at once: values of variables belong to the user data that they are sent with."""
    body = {"id": machine["id"], "userdatadetails": run.wanted("user_data_details") or None}
    if run.wanted("user_data") is not None:
        return {**body, "userdata": run.wanted("user_data")}
    registered = run.wanted("user_data_name") or machine.get("userdataid")
    return {**body, "userdataid": registered} if registered else {**body, "userdata": told(run, named)}


def told(run, named):
    """What the guest can read now."""
    return (entity_of(run.client.call("getVirtualMachineUserData", **named)) or {}).get("userdata") or ""


def variables(shown):
    """The values of variables in an answer, where they stand one after the other: in order, to be compared."""
    return sorted(piece.strip() for piece in shown.strip("{}").split(",") if piece.strip())


def digest(encoded_data):
    """What the difference shows of user data, which may hold secrets."""
    return f"sha256:{hashlib.sha256(base64.b64decode(encoded_data)).hexdigest()[:16]}"


def migrating(run, machine, named):
    """Another host, and other pools for its disks."""
    running = machine.get("state") == "Running" and run.params["state"] != "stopped"
    host = run.wanted("host") if running else None
    host = host if host != machine.get("hostid", host) else None
    moves = disk_moves(run, machine)
    for name, (_ident, before, after) in moves.items():
        run.note(f"storage_pool of {name}", before, after)
    to = [{"volume": ident, "pool": after} for ident, _before, after in moves.values()]
    if host and to:
        body = {**named, "hostid": host, "migrateto": to}
        yield "host", machine["hostid"], host, "migrateVirtualMachineWithVolume", body
    elif host:
        yield "host", machine["hostid"], host, "migrateVirtualMachine", {**named, "hostid": host}
    else:
        for name, (ident, before, after) in moves.items():
            body = {"volumeid": ident, "storageid": after, "livemigrate": running or None}
            yield f"storage_pool of {name}", before, after, "migrateVolume", body


def disk_moves(run, machine):
    """{name: (id, pool, other pool)} of the disks that lie in another pool than the task says."""
    found = {}
    for entry in run.params["disk_pools"] or ():
        of = f" in vm {machine.get('name')!r}"
        volume = lookup(run.client, "volume", entry["volume"], of, virtualmachineid=machine["id"])
        zone = {"zoneid": run.wanted("zone")} if run.wanted("zone") else {}
        pool = lookup(run.client, "storage_pool", entry["storage_pool"], **zone)["id"]
        if volume.get("storageid") not in (None, pool):
            found[volume["name"]] = (volume["id"], volume["storageid"], pool)
    return found


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
