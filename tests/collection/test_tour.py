"""The tour of a machine's life with simulated hosts: all of it but what is asked of the guest and read on its host.

The death of a host is for real ones: tests/e2e/test_tour.py."""

from __future__ import annotations

import yaml

from tests.collection.servers import ROOT

IN_THE_LAB = ("delegate_to", "connection", "vars", "failed_when", "until", "retries", "delay")


def test_the_tour_proves_each_step_and_leaves_nothing_behind(built, tmp_path):
    server, _first, _options = built
    play, _death = yaml.safe_load((ROOT / "playbooks/examples/tour.yml").read_text())
    play["hosts"] = "localhost"
    play["module_defaults"] = {}
    play["vars"]["lab_facts"] = {"netns": "none"}
    for task in play["tasks"]:
        if "ansible.builtin.command" in task:
            task["ansible.builtin.command"] = {"argv": ["echo", "said"]}
            for word in IN_THE_LAB:
                task.pop(word, None)
        if "cloudwright.cloud.disk_offering" in task:  # the simulated hosts have no disks of their own
            task["cloudwright.cloud.disk_offering"]["storage_type"] = "shared"
    file = tmp_path / "tour.yml"
    file.write_text(yaml.safe_dump([play], sort_keys=False))
    done = server.play(file)
    assert done.code == 0, done.text
    for proof in ("deployed: tour runs", "is BackedUp", "in the running guest", "and answers as before", "ends with"):
        assert proof in done.text
    left = (
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n  - cloudwright.cloud.vm: {name: tour, state: absent}\n"
    )
    assert server.play(left).recap("changed") == 0
