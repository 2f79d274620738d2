"""The less usual options of machines against the real server."""

from __future__ import annotations

from tests.collection.servers import ROOT  # noqa: F401  makes the collection importable

from ansible_collections.cloudwright.cloud.tests.unit import machine_options  # isort: skip


def test_the_less_usual_options_of_a_machine(run):
    machine_options.life(run)
