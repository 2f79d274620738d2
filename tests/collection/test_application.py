"""The example of an application: brought up twice, looked at before, and taken away twice."""

from __future__ import annotations

import json

from tests.collection.servers import ROOT

PLAY = ROOT / "playbooks/examples/application.yml"


def test_an_application_comes_stays_and_goes(built, run):
    server = built[0]
    first, second = (server.play(PLAY) for _ in range(2))
    assert (first.code, first.recap("changed")) == (0, 5), first.text
    assert (second.code, second.recap("changed")) == (0, 0), second.text
    machines = run.ok("vm_info", zone="lab", group="shop")["entities"]
    assert len(machines) == 3 and {m["state"] for m in machines} == {"Running"}
    assert len({m["hostname"] for m in machines}) == 2, "there are no more hosts"
    assert f"runs on {machines[0]['hostname']}" in first.text
    for machine in machines:
        (disk,) = run.ok("volume_info", zone="lab", vm=machine["name"], type="DATADISK")["entities"]
        (policy,) = run.ok("snapshot_policy_info", volume=disk["name"])["entities"]
        assert (policy["schedule"], policy["maxsnaps"]) == ("30:02", 7)
    end = ["-e", json.dumps({"application_state": "absent"})]
    gone, again = (server.play(PLAY, *end) for _ in range(2))
    assert (gone.code, gone.recap("changed")) == (0, 4), gone.text
    assert (again.code, again.recap("changed")) == (0, 0), again.text
    assert run.ok("affinity_group_info", name="shop")["entities"] == []
