"""How a host is asked to send a machine away; two hosts that do it are in stories.py."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

from mgmt_server.agent.domain import Surroundings, build
from mgmt_server.agent.migration import Manner, Migration, Ready
from tests.agent.test_domain import GUEST

MACHINE = replace(GUEST, disks=(), nics=())
HERE = Surroundings("qemu", "/usr/bin/qemu-system-x86_64", (), (), "/log")
THERE = Ready("192.0.2.7", (), (), "/log", "127.0.0.1")


class Domain:
    """As libvirt has it. Without `quick` it moves until somebody stops that."""

    def __init__(self, quick: bool) -> None:
        self.quick, self.stopped, self.flags = quick, threading.Event(), 0

    def XMLDesc(self, flags: int) -> str:  # noqa: N802  libvirt's name
        return build(MACHINE, HERE)

    def abortJob(self) -> None:  # noqa: N802
        self.stopped.set()

    def migrateToURI3(self, uri: str, parameters: dict[str, Any], flags: int) -> None:  # noqa: N802
        self.flags = flags
        if not self.quick:
            assert self.stopped.wait(30)
            raise libvirt.libvirtError("aborted")


def go(domain: Domain, how: Manner) -> None:
    config = SimpleNamespace(unsafe_migration=False)
    guests = SimpleNamespace(virt=None, storage=SimpleNamespace(config=config), network=None)
    Migration(guests, "192.0.2.8")._go(domain, MACHINE, (), THERE, how)  # type: ignore[arg-type]


def test_a_guest_is_slowed_down_only_where_that_was_asked() -> None:
    for wanted in (False, True):
        domain = Domain(quick=True)
        go(domain, Manner(converge=wanted))
        assert bool(domain.flags & libvirt.VIR_MIGRATE_AUTO_CONVERGE) is wanted
        assert domain.flags & libvirt.VIR_MIGRATE_LIVE and not domain.stopped.is_set()


def test_a_move_that_takes_too_long_is_given_up() -> None:
    domain = Domain(quick=False)
    with pytest.raises(libvirt.libvirtError, match="aborted"):
        go(domain, Manner(seconds=0.01))
    assert domain.stopped.is_set()
