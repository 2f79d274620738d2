# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of machines, disks and images do beyond the cycle that all go through."""

from __future__ import annotations

import pytest
from ansible_collections.cloudwright.cloud.tests.unit import machine_options
from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle

SENT = {
    "template": {"format": "QCOW2", "hypervisor": "Simulator", "os_type": "Other Linux (64-bit)"},
    "iso": {"os_type": "Other Linux (64-bit)"},
    "volume": {"format": "QCOW2"},
}


@pytest.mark.parametrize("module", sorted(SENT))
def test_an_image_of_here_is_sent_once_and_fetched_again(run, tmp_path, module):
    (tmp_path / "image").write_bytes(b"some blocks" * 9000)
    options = {"name": "sent", "zone": "lab", **SENT[module]}
    made = cycle(run, module, **options, path=str(tmp_path / "image"))[1]["entity"]
    assert run.cloud.images[made["id"]] == (tmp_path / "image").read_bytes()
    back = {"kind": module, "name": "sent", "zone": "lab", "path": str(tmp_path / "back")}
    first = cycle(run, "image_download", **back)[1]
    assert (tmp_path / "back").read_bytes() == (tmp_path / "image").read_bytes() and first["url"].startswith("http:")
    assert run.ok("image_download", **back, forced=True)["changed"] is True
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back", "image"]


def test_an_image_that_is_refused_says_why_and_leaves_nothing(run, tmp_path):
    (tmp_path / "image").write_bytes(b"not an image")
    options = {"name": "bad", "zone": "lab", **SENT["template"], "path": str(tmp_path / "image")}
    assert "its content is raw (422)" in run("template", **options)["msg"]
    assert run.ok("template_info", name="bad")["entities"] == []
    options["path"] = str(tmp_path / "nowhere")
    assert "No such file" in run("template", **options)["msg"]


def test_a_link_alone_is_a_change_each_time(run):
    link = {"kind": "volume", "name": "kept", "zone": "lab"}
    for _again in range(2):
        made = run.ok("image_download", **link)
        assert made["changed"] and made["url"] and made["path"] is None


def test_a_system_vm_is_made_anew_each_time(run):
    before = run.ok("system_vm_info", zone="lab", type="consoleproxy")["entities"]
    for _again in range(2):
        run.ok("system_vm", zone="lab", type="consoleproxy", state="renewed")
    after = run.ok("system_vm_info", zone="lab", type="consoleproxy")["entities"]
    assert before[0]["id"] != after[0]["id"]


def test_what_keeps_hosts_and_pools_in_service_is_told(run):
    why = "1 machine(s) are on host sim1 and cannot move: home: its disk is local"
    (host,) = [h for h in run.cloud.kinds["host"].values() if h["name"] == "sim1"]
    host.update(resourcestate="ErrorInMaintenance", details={"maintenance": why, "other": "x"})
    told = {h["name"]: h for h in run.ok("host_maintenance_info", zone="lab")["entities"]}
    assert (told["sim1"]["told"], told["sim1"]["in_maintenance"], told["sim2"]["told"]) == (why, False, "")
    (found,) = run.ok("host_maintenance_info", resource_state="ErrorInMaintenance")["entities"]
    assert found == {"id": host["id"], "name": "sim1", "zoneid": host["zoneid"], "state": "Up",
                     "resourcestate": "ErrorInMaintenance", "in_maintenance": False, "told": why}  # fmt: skip
    run.ok("storage_maintenance", name="other", zone="lab")
    pools = {p["name"]: p["in_maintenance"] for p in run.ok("storage_maintenance_info", zone="lab")["entities"]}
    assert pools == {"other": True, "primary": False}


def test_hosts_are_maintained_one_after_the_other_and_those_left_out_are_told(run):
    hosts = {"hosts": ["idle"], "zone": "lab", "payload": "kernel"}
    assert run.ok("rolling_maintenance", check=True, **hosts)["changed"] is True
    assert "startRollingMaintenance" not in run.cloud.calls
    done = run.ok("rolling_maintenance", **hosts)
    assert done["changed"] and [h["output"] for h in done["hosts_updated"]] == ["kernel"] and done["job_id"]
    assert "no host named 'nobody' in zone 'lab'" in run("rolling_maintenance", zone="lab", hosts=["nobody"])["msg"]
    assert "are empty" in run("rolling_maintenance", hosts=[])["msg"]
    run.cloud.add("host", {"name": "busy", "zoneid": run.ok("zone_info", name="lab")["entities"][0]["id"]})
    refused = run("rolling_maintenance", hosts=["busy", "idle"])
    assert "no room" in refused["msg"] and refused["changed"] is False
    forced = run.ok("rolling_maintenance", hosts=["busy", "idle"], forced=True)
    assert [h["hostname"] for h in forced["hosts_skipped"]] == ["busy"] and forced["changed"] is True
    assert run.ok("rolling_maintenance", hosts=["busy"], forced=True)["changed"] is False
    assert "hosts_updated" not in run.ok("rolling_maintenance", hosts=["idle"], wait=False)


def test_the_less_usual_options_of_a_machine(run):
    for name in ("instance.lease.enabled", "enable.additional.vm.configuration"):
        run.cloud.add("configuration", {"name": name, "value": "false"})
    run.cloud.add("configuration", {"name": "allow.additional.vm.configuration.list.kvm", "value": ""})
    machine_options.life(run)


def test_who_is_not_told_whether_a_machine_is_shown_changes_nothing(run):
    made = run.ok("vm", **machine_options.VM, name="hidden")["entity"]
    del run.cloud.kinds["virtualmachine"][made["id"]]["displayvm"]
    assert run.ok("vm", name="hidden", zone="lab", display_vm=True)["changed"] is False
