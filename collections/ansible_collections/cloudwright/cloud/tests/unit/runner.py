# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules in the test's own process."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from unittest.mock import patch

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudwright.cloud.tests.unit.fake_wire import KEY, SECRET, URL
from ansible_collections.cloudwright.cloud.tests.unit.samples import ZONE
from ansible_collections.cloudwright.cloud.tests.unit.samples_compute import MACHINES
from ansible_collections.cloudwright.cloud.tests.unit.samples_identity import PEOPLE

CREDENTIALS = {"api_url": URL, "api_key": KEY, "api_secret": SECRET}


class Exit(Exception):
    """Carries what a module returned."""


@contextmanager
def returned():
    """Turn exit_json and fail_json into an exception."""

    def leave(self, **kwargs):
        raise Exit(kwargs)

    with patch.object(basic.AnsibleModule, "exit_json", leave), patch.object(basic.AnsibleModule, "fail_json", leave):
        yield


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


class Runner:
    """``run("zone", name="z")``; in check mode the server takes no writes, whatever the module does.

    ``cloud`` is whatever has an attribute ``writable`` and refuses writes at the transport while that is False.
    """

    def __init__(self, cloud, credentials=None):
        self.cloud = cloud
        self.credentials = credentials or CREDENTIALS

    def __call__(self, module, check=False, **options):
        entity = import_module(f"ansible_collections.cloudwright.cloud.plugins.modules.{module}").ENTITY
        args = {**self.credentials, **{k: v for k, v in options.items() if v is not None}, "_ansible_check_mode": check}
        self.cloud.writable = not check
        try:
            with patch_module_args(args), returned(), pytest.raises(Exit) as done:
                entity.main()
        finally:
            self.cloud.writable = True
        return done.value.args[0]

    def ok(self, module, **options):
        """Run what must not fail."""
        result = self(module, **options)
        assert "msg" not in result, result
        return result


def build(run):
    """The zone of the samples, by the modules, in the order of playbooks/zone.yml."""
    run.ok("zone", **{k: ZONE[k] for k in ("name", "network_type", "dns1", "local_storage_enabled")})
    zone = {"zone": ZONE["name"]}
    for net in ZONE["physical_networks"]:
        inner = {**zone, "physical_network": net["name"]}
        run.ok("physical_network", **zone, **{k: net[k] for k in ("name", "isolation_methods", "vlan")})
        for traffic in net["traffic_types"]:
            run.ok("traffic_type", **inner, **traffic)
        for provider in net["providers"]:
            run.ok("network_service_provider", **inner, name=provider, state="enabled")
        run.ok("physical_network", **zone, name=net["name"], state="enabled")
    for pod in ZONE["pods"]:
        run.ok("pod", **zone, **{k: v for k, v in pod.items() if k != "clusters"})
        for cluster in pod["clusters"]:
            kind = {"hypervisor": cluster["hypervisor"]}
            run.ok("cluster", **zone, pod=pod["name"], name=cluster["name"], **kind)
            place = {**zone, "pod": pod["name"], "cluster": cluster["name"]}
            for host in cluster["hosts"]:
                run.ok("host", **place, **kind, **host)
            for pool in cluster["storage_pools"]:
                run.ok("storage_pool", **place, **pool)
    for store in ZONE["image_stores"]:
        run.ok("image_store", **zone, **store)
    for offering in ZONE["service_offerings"]:
        run.ok("service_offering", **offering)
    for network in ZONE["guest_networks"]:
        run.ok("network", **zone, **network)
    run.ok("zone", name=ZONE["name"], state="enabled")
    for template in ZONE["templates"]:
        run.ok("template", **zone, **template)


def furnish(run):
    """Another zone, without anything in it, and the people and machines of the samples."""
    run.ok("zone", name="spare", dns1="192.0.2.1")
    for module, options in PEOPLE + MACHINES:
        run.ok(module, **options)


def enrol(run):
    """A user without keys."""
    user = {"username": "cycle", "account": "admin", "email": "c@x.test", "firstname": "C", "lastname": "C"}
    run.ok("api_request", command="createUser", params={**user, "password": "not-a-secret-1"})
