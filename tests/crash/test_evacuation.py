"""kill -9 while a host with several guests is emptied, at moments of the evacuation and of each guest's move.

The evacuation ends once, every guest runs on as it was, on the other host, and nothing is held twice.
"""

from __future__ import annotations

import pytest

from tests.crash.scene import starts

GUESTS = 6
MOST = 600  # moments that no evacuation of so few has


class Full:
    """A network with some guests, all on one host of two."""

    def __init__(self, cloud):
        self.cloud, network = cloud, cloud.network()
        cloud.settled(cloud.deploy(network, "g0"))
        self.names = [f"g{n}" for n in range(GUESTS)]
        self.host = cloud.machine("g0")["hostid"]
        jobs = [cloud.deploy(network, name, hostid=self.host) for name in self.names[1:]]
        assert all(cloud.settled(job)["jobstatus"] == 1 for job in jobs)
        assert {m["hostid"] for m in self.guests()} == {self.host}
        self.before = {m["id"]: starts(m["id"]) for m in self.guests()}

    def guests(self):
        return [self.cloud.machine(name) for name in self.names]

    def settle(self, job):
        """See the evacuation through, and have the host in use again: all guests are on the other one."""
        done = self.cloud.settled(job)
        assert done["jobstatus"] == 1, done
        self.cloud.at_rest()
        (host,) = self.cloud.client().ask("listHosts", id=self.host)["host"]
        assert host["resourcestate"] == "Maintenance"
        guests = self.guests()
        assert {m["state"] for m in guests} == {"Running"} and self.host not in {m["hostid"] for m in guests}
        assert {m["id"]: starts(m["id"]) for m in guests} == self.before, "a guest was started anew"
        assert self.cloud.settled(job) == done, "an ended job answers the same for good"
        self.cloud.client().job("cancelHostMaintenance", id=self.host)
        (self.host,) = {m["hostid"] for m in guests}


@pytest.mark.parametrize("step", [41, pytest.param(1, marks=(pytest.mark.long, pytest.mark.timeout(7200)))])
def test_a_server_that_dies_while_it_moves_six_guests_away(cloud, step):
    full = Full(cloud)
    deaths = 0
    for moment in range(1, MOST, step):
        cloud.live("", moment)  # of any job: most are those of the guests' moves
        job = cloud.ask("prepareHostForMaintenance", id=full.host)
        if not cloud.died(job):
            full.settle(job)
            break
        deaths += 1
        cloud.live()
        full.settle(job)
    print(f"{deaths} deaths within {moment} moments, {cloud.lives} lives")
    assert GUESTS * 8 < moment < MOST - step and deaths >= 2
