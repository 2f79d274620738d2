"""What libvirt remembers of a start and of a backup that it did not live to end."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mgmt_server.agent import recovery
from mgmt_server.errors import Unavailable

MACHINE = SimpleNamespace(name=lambda: "i-2-3-VM")


def remembered(folder: Path, pid: int, *, earlier: bool = True) -> Path:
    status, driver = folder / "i-2-3-VM.xml", folder / "driver.pid"
    status.write_text(f"<!-- libvirt's -->\n<domstatus state='paused' reason='starting up' pid='{pid}'/>\n")
    driver.write_text(f"{os.getpid()}\n")
    os.utime(status, (1000, 1000))
    os.utime(driver, (1001, 1001) if earlier else (999, 999))
    return status


def test_only_a_start_without_a_process_of_an_earlier_libvirt_is_left_behind(tmp_path: Path) -> None:
    assert not recovery.left_behind(MACHINE, tmp_path), "nothing is remembered"
    remembered(tmp_path, 0)
    assert recovery.left_behind(MACHINE, tmp_path)
    remembered(tmp_path, 4711)
    assert not recovery.left_behind(MACHINE, tmp_path), "it has a process, which libvirt looks for"
    remembered(tmp_path, 0, earlier=False)
    assert not recovery.left_behind(MACHINE, tmp_path), "this libvirt is at it"
    remembered(tmp_path, 0).write_text("<domstatus")
    os.utime(tmp_path / "i-2-3-VM.xml", (1000, 1000))
    assert not recovery.left_behind(MACHINE, tmp_path), "half written"


@pytest.mark.parametrize("exit", [0, 1])
def test_libvirt_is_started_anew_without_it_or_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit: int
) -> None:
    status = remembered(tmp_path, 0)
    tool = tmp_path / "systemctl"
    tool.write_text(f"#!/bin/sh\necho $@ $(ls {tmp_path}/*.xml) >{tmp_path}/asked\necho no unit >&2\nexit {exit}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if exit == 0:
        recovery.let_go(["i-2-3-VM"], tmp_path)
        assert not status.exists() and not list(tmp_path.glob("*.left"))
    else:
        with pytest.raises(Unavailable, match=rf"no unit.*Remove {status} and restart libvirtd"):
            recovery.let_go(["i-2-3-VM"], tmp_path)
        assert recovery.left_behind(MACHINE, tmp_path), "the next try finds it again"
    assert (tmp_path / "asked").read_text() == "restart libvirtd\n"


SAVING = """<!-- libvirt's -->
<domstatus state='running' reason='booted' pid='4711'>
  <job type='none' async='backup' flags='0x0' asyncStarted='1795363768437'/>{}
  <domain><name>i-2-3-VM</name></domain>
</domstatus>
"""


def test_only_a_backup_of_nothing_is_half_saved(tmp_path: Path) -> None:
    status = tmp_path / "i-2-3-VM.xml"

    def told(text: str) -> bool:
        status.write_text(text)
        return recovery.half_saved(MACHINE, tmp_path, again=0)

    assert not recovery.half_saved(MACHINE, tmp_path, again=0), "nothing is remembered"
    assert told(SAVING.format(""))
    assert not told(SAVING.format("<backups><domainbackup mode='push'/></backups>")), "libvirt knows what it saves"
    assert not told(SAVING.format("").replace("backup", "snapshot")), "libvirt ends those by itself"
    assert not told("<domstatus"), "half written"


@pytest.mark.parametrize("exit", [0, 1])
def test_libvirt_is_started_anew_without_the_backup_or_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit: int
) -> None:
    status, tool = tmp_path / "i-2-3-VM.xml", tmp_path / "systemctl"
    status.write_text(SAVING.format(""))
    (tmp_path / "driver.pid").write_text(f"{os.getpid()}\n")
    tool.write_text(f"#!/bin/sh\ncp {status} {tmp_path}/read\necho no unit >&2\nexit {exit}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if exit == 0:
        recovery.end_saving("i-2-3-VM", tmp_path)
    else:
        with pytest.raises(Unavailable, match=rf"no unit.*into {status} and restart libvirtd at once"):
            recovery.end_saving("i-2-3-VM", tmp_path)
    expected = SAVING.format("").replace("async='backup'", "async='none'")
    assert (tmp_path / "read").read_text() == expected, "all else stays, as the machine runs on"
    assert not list(tmp_path.glob("*.left"))
