"""IPMI: the real ipmitool against a controller that speaks the real protocol, with a file for a power switch."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import Refused
from tests.simulated import build

pytestmark = pytest.mark.skipif(not shutil.which("ipmitool"), reason="needs ipmitool")

SECRET = "s3cr3t-of-bmc"
PLAYED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from nspawn import bmc

class Switch:
    file = Path(sys.argv[4])
    def is_on(self): return self.file.read_text() == "on"
    def on(self): self.file.write_text("on")
    def off(self): self.file.write_text("off")
    press = off

bmc.serve("127.0.0.1", int(sys.argv[2]), Path(sys.argv[3]), Switch())
"""


class Bmc:
    def __init__(self, folder):
        self.users, self.switch = folder / "users.json", folder / "switch"
        self.users.write_text(json.dumps({"operator": SECRET}))
        self.switch.write_text("on")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        tools = Path(__file__).parents[2] / "tools"
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLAYED, str(tools), str(self.port), str(self.users), str(self.switch)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert "listening" in self.process.stdout.readline()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def bmc(tmp_path):
    found = Bmc(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def host(cloud, bmc):
    found = build(hosts=1)["hosts"]
    configure(cloud, found, bmc, SECRET)
    cloud.job("enableOutOfBandManagementForHost", hostid=found)
    return found


def configure(cloud, host, bmc, password):
    where = {"address": "127.0.0.1", "port": str(bmc.port), "username": "operator", "password": password}
    cloud.ask("configureOutOfBandManagement", hostid=host, driver="ipmitool", **where)


def power(cloud, host, action, **more):
    found = cloud.job("issueOutOfBandManagementPowerAction", hostid=host, action=action, **more)
    return found["outofbandmanagement"]["powerstate"]


def test_power_goes_off_and_on(cloud, bmc, host):
    assert power(cloud, host, "STATUS") == "On"
    assert power(cloud, host, "OFF") == "Off"
    assert bmc.switch.read_text() == "off"
    assert power(cloud, host, "OFF") == "Off"  # again
    with pytest.raises(Refused, match="Command not supported in present state"):
        power(cloud, host, "CYCLE")
    assert power(cloud, host, "ON") == "On"
    assert bmc.switch.read_text() == "on"


def test_a_new_password_is_set_and_used(cloud, bmc, host):
    cloud.job("changeOutOfBandManagementPassword", hostid=host, password="an0ther/one-of-20chr")
    assert json.loads(bmc.users.read_text()) == {"operator": "an0ther/one-of-20chr"}
    assert power(cloud, host, "STATUS") == "On"


def test_a_wrong_password_and_a_controller_that_is_away_are_told_without_it(cloud, bmc, host):
    configure(cloud, host, bmc, "wr0ng")
    with pytest.raises(Refused, match="session|password") as refused:
        power(cloud, host, "STATUS")
    assert "wr0ng" not in str(refused.value.answer)
    bmc.stop()
    with pytest.raises(Refused, match="session|answer") as refused:
        power(cloud, host, "STATUS", timeout=5)
    assert SECRET not in str(refused.value.answer)
