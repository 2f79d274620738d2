"""The tour of `playbooks/examples/tour.yml` on the lab, as an operator runs it: what it tells, it has seen."""

from __future__ import annotations

import re

import pytest

from tests.e2e.machine import hosts, short

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

LIFE = ("deployed: tour runs", "is BackedUp", "in the running guest", "and answers as before", "ends with")
STEPS = ["power cut", "suspected", "fenced", "released"]


def toured(lab, client, *options):
    """What it printed, without its breaks of lines. It leaves no machine behind."""
    before = names(client)
    done = lab.play("examples/tour.yml", *options)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert names(client) == before
    return " ".join(done.stdout.split())


def names(client):
    return {v["name"] for v in client.ask("listVirtualMachines", listall="true")["virtualmachine"]}


def dies(lab, client, *options):
    """Run it: of the two hosts the one dies that has nothing which could run nowhere else."""
    away, home = hosts(lab, client)
    told = toured(lab, client, *options)
    assert re.search(rf"the power of {re.escape(away['name'])} was cut, with [12] machines that should run", told), told
    steps = re.findall(r"\d\.\d s ([a-z ]+[a-z])", told)
    assert [step for step in steps if step in STEPS] == STEPS, steps
    assert re.search(rf"tour-ha answers at 10\.92\.0\.\d+ from {re.escape(home['name'])}", told), told[-4000:]
    assert f"{away['name']} is back without it" in told
    assert not [n for n in lab.on(short(away), "virsh -q list --all --name").split() if n.startswith("i-")]
    return told


def test_a_host_dies_and_its_guest_runs_elsewhere(lab, client):
    dies(lab, client, "--start-at-task", "Look at the hosts")


@pytest.mark.long
def test_the_whole_tour_proves_each_step(lab, client):
    told = dies(lab, client)
    for proof in LIFE:
        assert proof in told, told[-6000:]
