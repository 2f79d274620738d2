"""kill -9 at every moment of what machines and disks go through: each job ends once, with what it was asked for.

One life dies at a moment of one command, the next one finishes what was left and dies at one of another: see
test_moments.py.
"""

from __future__ import annotations

import pytest

from tests.crash.scene import COMMANDS, Scene
from tests.crash.test_moments import MOST

CASES = tuple(COMMANDS)
UNDOES = {  # what the look at the outcome asks besides
    "detach": {"attachVolume"},
    "resize": {"attachVolume", "detachVolume", "resizeVolume"},
    "move": {"attachVolume"},
    "revert": {"attachVolume"},
    "make": {"attachVolume"},
}


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=(pytest.mark.long, pytest.mark.timeout(7200)))])
def test_a_server_that_dies_at_any_moment_of_what_is_done_to_machines_and_disks(cloud, step):
    scene, left, counted = Scene(cloud), list(CASES), {}
    job, before, after = None, "", None  # what the last life left

    def settle():
        if job is not None:
            done = cloud.settled(job)
            assert done["jobstatus"] == 1, (before, moment, done)
            after()
            cloud.at_rest()

    for moment in range(1, MOST, step):
        for what in list(left):
            command = COMMANDS[what]
            if what == before or command in UNDOES.get(before, ()):  # its moments would count as well
                cloud.live()
                settle()
                job = None
            cloud.live(command, moment)
            settle()
            asked, sent, after = getattr(scene, what)()
            assert asked == command
            job, before = cloud.ask(command, **sent), what
            if not cloud.died(job):
                counted[what] = moment - step  # the last at which it died
                left.remove(what)
        if not left:
            break
    cloud.live()
    settle()
    print(f"moments {counted}, {cloud.lives} lives")
    assert not left and min(counted.values()) >= 4 - step, counted
