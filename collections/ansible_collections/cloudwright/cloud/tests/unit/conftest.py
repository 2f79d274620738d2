# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server in memory, with the zone of the samples."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from ansible.module_utils.urls import Request
from ansible_collections.cloudwright.cloud.tests.unit.fake_cloud import new_cloud
from ansible_collections.cloudwright.cloud.tests.unit.runner import Clock, Runner, build, enrol, furnish


@pytest.fixture(name="run")
def fixture_run():
    """A runner on a server with the zone of the samples; nothing sleeps."""
    cloud = new_cloud()
    runner, clock = Runner(cloud), Clock()
    with patch.object(Request, "open", lambda self, method, url, **more: cloud.open(method, url, **more)):
        with patch("time.sleep", clock.sleep), patch("time.monotonic", clock.now):
            build(runner)
            furnish(runner)
            enrol(runner)
            cloud.calls.clear()
            yield runner
