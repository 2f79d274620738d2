"""Scripts of a host's maintenance: what they are given, what is told of them, and that each runs once for a call."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mgmt_server.agent.commands import _of_stage
from mgmt_server.agent.maintenance import Scripts
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import Kvm
from mgmt_server.errors import Failed
from mgmt_server.protocol.codec import plain
from mgmt_server.protocol.machine import StageResult

KILL = "kill -9 $PPID $(ps -o ppid= $PPID)"  # the shell around it, as a restart does


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "scripts"
    found.mkdir(mode=0o755)
    return found


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)


def of(folder: Path, boot: str = "one") -> Scripts:
    return Scripts(folder, folder.parent / "state", boot)


def test_a_host_without_scripts_says_so(folder: Path) -> None:
    assert of(folder).run(str(uuid4()), "PreFlight", "", 5) == StageResult()
    script(folder, "Maintenance.sh", "true")
    assert of(folder).run(str(uuid4()), "PreFlight", "", 5) == StageResult(stages=("Maintenance",))
    with pytest.raises(Failed, match="there is no stage"):
        of(folder).run(str(uuid4()), "../PreFlight", "", 5)


def test_a_script_gets_the_payload_as_one_argument_and_its_words_and_status_are_told(folder: Path) -> None:
    script(folder, "PreFlight.sh", 'echo "$#:$1"; echo wrong >&2; exit 70')
    found = of(folder).run(str(uuid4()), "PreFlight", "a b; $(id)", 5)
    assert found == StageResult(70, "1:a b; $(id)\nwrong\n", ("PreFlight",))


def test_a_repeat_of_a_call_runs_nothing_again(folder: Path) -> None:
    script(folder, "Maintenance", f"echo x >> {folder.parent}/runs; cat {folder.parent}/runs")
    call = str(uuid4())
    first = of(folder).run(call, "Maintenance", "", 5)
    assert of(folder).run(call, "Maintenance", "", 5) == first == StageResult(0, "x\n", ("Maintenance",))
    assert of(folder).run(str(uuid4()), "Maintenance", "", 5).output == "x\nx\n"


def test_a_script_that_starts_the_host_anew_is_not_run_again_when_the_host_is_back(folder: Path) -> None:
    script(folder, "Maintenance", f"echo x >> {folder.parent}/runs; echo going down; {KILL}")
    call = str(uuid4())
    with pytest.raises(Failed, match="cut off after it had said 'going down'"):
        of(folder).run(call, "Maintenance", "", 5)
    found = of(folder, "two").run(call, "Maintenance", "", 5)
    assert found.status == 0 and "the host was started anew" in found.output
    assert (folder.parent / "runs").read_text() == "x\n"


def test_a_script_that_takes_too_long_is_ended(folder: Path) -> None:
    script(folder, "PreMaintenance.py", "echo begun; exec sleep 60")
    assert of(folder).run(str(uuid4()), "PreMaintenance", "", 1) == StageResult(124, "begun\n", ("PreMaintenance",))


def test_a_script_that_others_may_change_is_not_run(folder: Path) -> None:
    script(folder, "PreFlight", "true", 0o775)
    with pytest.raises(Failed, match="may be changed by others than root"):
        of(folder).run(str(uuid4()), "PreFlight", "", 5)
    script(folder, "PreFlight", "true", 0o644)
    with pytest.raises(Failed, match="chmod .x"):
        of(folder).run(str(uuid4()), "PreFlight", "", 5)
    script(folder, "PreFlight", "true")
    folder.chmod(0o777)
    with pytest.raises(Failed, match="may be changed"):
        of(folder).run(str(uuid4()), "PreFlight", "", 5)


def test_what_a_server_asks_is_what_the_agent_reads(folder: Path) -> None:
    script(folder, "PreFlight", 'echo "$1"; exit 3')

    class Link:
        def ask(self, agent: str, type: str, body: Any = None, **more: Any) -> Any:
            assert (agent, type, more["call"]) == ("a1", "maintain", call) and more["timeout"] > 5
            return plain(of(folder).run(*_of_stage(body)))

    call = uuid4()
    found = Kvm(Link()).maintain(call, HostRef("h", "kvm1", "KVM", "a1"), "PreFlight", "to 6.1", 5)
    assert found == StageResult(3, "to 6.1\n", ("PreFlight",))
