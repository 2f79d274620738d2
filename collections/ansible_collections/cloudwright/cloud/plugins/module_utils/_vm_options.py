# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of machines whose change takes more than their own value: details, leases, configuration, DHCP.

Each function yields (what, before, after, command, parameters) as ``prepare`` of an Entity does.  Private to this
collection.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup

UPDATE = "updateVirtualMachine"
SIZES = {"cpu_number": "cpuNumber", "cpu_speed": "cpuSpeed", "memory": "memory"}
TUNING = {
    "nic_multiqueue_number": "nic.multiqueue.number",
    "nic_packed_virtqueues_enabled": "nic.packed.virtqueues.enabled",
    "iothreads_enabled": "iothreads",
    "io_driver_policy": "io.policy",
}
EXTRA = "extraconfig"  # how details begin that hold additional configuration
TITLE = re.compile(r"([A-Za-z0-9._-]{1,50}):")
NO_LEASE = -1


def size(run):
    """The size of a machine whose offering leaves it open, as one of its details."""
    return {api: run.params[name] for name, api in SIZES.items() if run.params[name] is not None}


def all_at_once(found, run, command, params):
    """Options that one command changes: {option: (before, after)}."""
    for name in list(found)[1:]:
        run.note(name, *found[name])
    for name in list(found)[:1]:
        yield name, *found[name], command, params


def detailing(run, machine):
    """Details that differ.  The command takes all of them, so that those which the task does not name are sent too."""
    have, found = machine.get("details") or {}, {}
    wanted = run.params["details"]
    if wanted is not None and not same(wanted, have):
        found["details"] = ({key: have[key] for key in wanted if key in have}, wanted)
    for name, key in TUNING.items():
        if run.params[name] is not None and not same(run.params[name], have.get(key)):
            found[name] = (have.get(key), run.params[name])
    kept = {key: value for key, value in have.items() if not key.lower().startswith(EXTRA)}
    tuned = {TUNING[name]: after for name, (_before, after) in found.items() if name in TUNING}
    body = {"id": machine["id"], "details": {**kept, **(wanted or {}), **tuned, **size(run)}}
    yield from all_at_once(found, run, UPDATE, body)


def leasing(run, machine):
    """Another lease, which begins anew; both parts of it go together."""
    names = {"lease_duration": "leaseduration", "lease_expiry_action": "leaseexpiryaction"}
    have = {name: machine.get(field) for name, field in names.items()}
    wanted = {name: run.params[name] for name in names if run.params[name] is not None}
    if wanted.get("lease_duration") == NO_LEASE:
        wanted = {"lease_duration": NO_LEASE} if have["lease_duration"] is not None else {}
    found = {name: (have[name], value) for name, value in wanted.items() if not same(value, have[name])}
    whole = wanted if wanted.get("lease_duration") == NO_LEASE else {**have, **wanted}
    body = {"id": machine["id"], **{names[name]: value for name, value in whole.items()}}
    yield from all_at_once(found, run, UPDATE, body)


def pieces(text):
    """Additional configuration as a machine's details hold it: each piece under its title, or its number."""
    found = {}
    for piece in re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip()):
        first, _sep, rest = piece.strip().partition("\n")
        title = TITLE.fullmatch(first.strip())
        found[f"{EXTRA}-{title[1] if title else len(found) + 1}"] = (rest if title else piece).strip()
    return found


def configuring(run, machine):
    """Other pieces of configuration than it has."""
    text = run.params["extra_config"]
    have = {key: value for key, value in (machine.get("details") or {}).items() if key.lower().startswith(EXTRA)}
    if text is not None and pieces(text) != have:
        yield "extra_config", have, pieces(text), UPDATE, {"id": machine["id"], "extraconfig": quote(text, safe="")}


def first_configuration(run):
    """The additional configuration of a new machine."""
    text = run.params["extra_config"]
    if text is None:
        return None
    run.after["extra_config"] = pieces(text)
    return quote(text, safe="")


def told(run, scope):
    """{network's id: {code: value}} of the DHCP options that the task names."""
    found = {}
    for row in run.params["dhcp_options"] or ():
        network = lookup(run.client, "network", row["network"], **scope)["id"]
        found.setdefault(network, {}).update({str(code): str(value) for code, value in row["options"].items()})
    return found


def as_sent(options):
    """DHCP options as requests have them."""
    return [
        {"networkid": network, **{f"dhcp:{code}": value for code, value in row.items()}}
        for network, row in options.items()
    ]


def telling(run, machine, scope):
    """Other DHCP options than a NIC's guest is told."""
    there = {nic.get("networkid"): nic.get("extradhcpoption") or () for nic in machine.get("nic") or ()}
    found = {}
    for network, wanted in told(run, scope).items():
        have = {str(one["extradhcpoptioncode"]): str(one["extradhcpvalue"]) for one in there.get(network, ())}
        if have != wanted:
            found[network] = (have, wanted)
    if found:
        before, after = ({network: pair[side] for network, pair in found.items()} for side in (0, 1))
        body = {"id": machine["id"], "dhcpoptionsnetworklist": as_sent(after)}
        yield "dhcp_options", before, after, UPDATE, body


def first_dhcp_options(run, scope):
    """The DHCP options of a new machine."""
    if run.params["dhcp_options"] is None:
        return None
    run.after["dhcp_options"] = told(run, scope)
    return as_sent(run.after["dhcp_options"]) or None
