# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The less usual options of machines from deployment on.  Used with the server in memory and with a real one."""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle

VM = {"zone": "lab", "template": "tiny", "service_offering": "tiny", "networks": ["guests"]}
FIRST, SECOND = "11111111-2222-4333-8444-00000000000a", "11111111-2222-4333-8444-00000000000b"
PIECE = "<memoryBacking>\n  <locked/>\n</memoryBacking>"


def deployed_with_all(run):
    """Each option is taken at the deployment, and shown as it is where answers show it."""
    options = {
        **VM,
        "name": "tuned",
        "custom_id": FIRST.upper(),
        "details": {"purpose": "test"},
        "nic_multiqueue_number": 2,
        "nic_packed_virtqueues_enabled": False,
        "iothreads_enabled": True,
        "io_driver_policy": "native",
        "extra_config": PIECE,
        "dhcp_options": [{"network": "guests", "options": {66: "10.92.0.2", 67: "a+b%20c"}}],
        "lease_duration": 7,
        "lease_expiry_action": "STOP",
        "deployment_planner": "FirstFitPlanner",
        "copy_image_tags": True,
    }
    done = cycle(run, "vm", **options)[1]
    made = done["entity"]
    assert done["diff"]["after"]["extra_config"] == {"extraconfig-1": PIECE}
    assert made["id"] == FIRST and (made["leaseduration"], made["leaseexpiryaction"]) == (7, "STOP")
    held = {"purpose": "test", "nic.multiqueue.number": "2", "iothreads": "true", "io.policy": "native"}
    assert held.items() <= made["details"].items() and made["details"]["extraconfig-1"] == PIECE
    told = {one["extradhcpoptioncode"]: one["extradhcpvalue"] for one in made["nic"][0]["extradhcpoption"]}
    assert told == {66: "10.92.0.2", 67: "a+b%20c"}
    return options


def changed_one_by_one(run, options):
    """What can change is compared and changed, one option alone and nothing beside it."""
    named = {"name": "tuned", "zone": "lab"}
    lease = cycle(run, "vm", **named, lease_duration=14)[1]
    assert lease["diff"] == {"before": {"lease_duration": 7}, "after": {"lease_duration": 14}}
    assert lease["entity"]["leaseexpiryaction"] == "STOP"
    assert set(cycle(run, "vm", **named, lease_expiry_action="DESTROY")[1]["diff"]["after"]) == {"lease_expiry_action"}
    dhcp = {"dhcp_options": [{"network": "guests", "options": {66: "10.92.0.3"}}]}
    assert set(cycle(run, "vm", **named, **dhcp)[1]["diff"]["after"]) == {"dhcp_options"}
    cycle(run, "vm", **named, dhcp_options=[{"network": "guests", "options": {}}])
    cycle(run, "vm", **named, display_vm=False)
    cycle(run, "vm", **named, display_vm=True)
    assert "stop it" in run("vm", **named, io_driver_policy="threads")["msg"], "it runs"
    run.ok("vm", **named, state="stopped")
    tuned = {"io_driver_policy": "threads", "iothreads_enabled": False, "details": {"purpose": "other"}}
    after = cycle(run, "vm", **named, **tuned)[1]
    assert set(after["diff"]["after"]) == set(tuned) and after["diff"]["before"]["details"] == {"purpose": "test"}
    details = after["entity"]["details"]
    assert (details["nic.multiqueue.number"], details["iothreads"], details["purpose"]) == ("2", "false", "other")
    assert details["extraconfig-1"] == PIECE, "what the task does not name stays"
    other = PIECE.replace("locked", "nosharepages")
    pieces = cycle(run, "vm", **named, extra_config=other)[1]
    assert pieces["diff"]["after"] == {"extra_config": {"extraconfig-1": other}}
    assert "cannot be taken away" in run("vm", **named, extra_config=" ")["msg"]
    ended = cycle(run, "vm", **named, lease_duration=-1)[1]
    assert ended["entity"].get("leaseduration") is None
    assert "no lease" in run("vm", **named, lease_duration=7, lease_expiry_action="STOP")["msg"]


def called_otherwise(run):
    """Another id, and what the same task does after it goes to the machine under that."""
    named = {"name": "tuned", "zone": "lab", "state": "started"}
    done = cycle(run, "vm", **named, custom_id=SECOND, display_name="renumbered")[1]
    assert done["diff"]["before"]["custom_id"] == FIRST and done["entity"]["id"] == SECOND
    assert (done["entity"]["state"], done["entity"]["displayname"]) == ("Running", "renumbered")


def made_of_others(run):
    """Root disks made of a snapshot, and of a disk that was one."""
    assert "mutually exclusive" in run("vm", **VM, name="both", snapshot="rooted")["msg"]
    parts = {"name": "tuned", "zone": "lab"}
    (root,) = run.ok("volume_info", vm="tuned", zone="lab", type="ROOT")["entities"]
    run.ok("vm", **parts, state="stopped")
    run.ok("snapshot", name="rooted", zone="lab", volume=root["id"])
    without = {**VM, "template": None}
    made = cycle(run, "vm", **without, name="copied", snapshot="rooted", override_disk_offering="open")[1]["entity"]
    assert made["state"] == "Running"
    run.ok("vm", **{**without, "name": "copied", "state": "expunged"})
    run.ok("volume", name=root["name"], id=root["id"], zone="lab", state="detached")
    taken = cycle(run, "vm", **without, name="heir", volume=root["id"])[1]["entity"]
    assert taken["state"] == "Running"
    run.ok("vm", **{**without, "name": "heir", "state": "expunged"})


def life(run):
    """All of it."""
    for name, value in (
        ("instance.lease.enabled", True),
        ("enable.additional.vm.configuration", True),
        ("allow.additional.vm.configuration.list.kvm", "memoryBacking,locked,nosharepages"),
    ):
        run.ok("configuration", name=name, value=str(value).lower() if isinstance(value, bool) else value)
    changed_one_by_one(run, deployed_with_all(run))
    called_otherwise(run)
    made_of_others(run)
    run.ok("vm", name="tuned", zone="lab", state="expunged")
