#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have hosts maintained one after the other."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_maintenance
short_description: Have hosts maintained one after the other
description:
  - Empty hosts one after the other, have each run its own maintenance scripts, and take it back.
  - Before anything is touched, it is seen whether the machines of every host have room elsewhere, and the scripts for
    V(PreFlight) are run. What speaks against one host speaks against all, but with O(forced).
  - This is a thing to do, and reports a change each time a host was worked on. In check mode nothing is asked of hosts.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zones:
    description: Names or ids of the zones whose hosts are maintained.
    type: list
    elements: str
  pods:
    description: Names or ids of the pods whose hosts are maintained.
    type: list
    elements: str
  clusters:
    description: Names or ids of the clusters whose hosts are maintained.
    type: list
    elements: str
  hosts:
    description: Names or ids of the hosts that are maintained.
    type: list
    elements: str
  zone:
    description: Name or id of the zone in which O(pods), O(clusters) and O(hosts) are looked for.
    type: str
  forced:
    description: Whether to go on with the next host when one fails.
    type: bool
    default: false
  payload:
    description: Text that every script is given.
    type: str
  timeout:
    description: Seconds that a script may take, instead of what the server's setting says.
    type: int
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Bring the hosts of a cluster up to date
  cloudwright.cloud.rolling_maintenance:
    zone: lab
    clusters: [c1]
    payload: kernel
    wait_timeout: 14400
"""

RETURN = r"""
hosts_updated:
  description: The hosts that were worked on, with what their scripts said.
  returned: when the job was waited for
  type: list
  elements: dict
hosts_skipped:
  description: The hosts that were not, each with the reason.
  returned: when the job was waited for
  type: list
  elements: dict
job_id:
  description: Id of the job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

import time

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, WAIT_SPEC, ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Runnable
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup

OF = ("zones", "pods", "clusters", "hosts")
COMMAND = "startRollingMaintenance"


class RollingMaintenance(Runnable):
    """Nothing stays of it that could be found again."""

    OPTIONS = {
        **{name: {"type": "list", "elements": "str"} for name in OF},
        "zone": {"type": "str"},
        "forced": {"type": "bool", "default": False},
        "payload": {"type": "str"},
        "timeout": {"type": "int"},
    }
    argument_spec = {**API_SPEC, **WAIT_SPEC, **OPTIONS}
    constraints = {"mutually_exclusive": [OF], "required_one_of": [OF]}

    def converge(self, client, params, check_mode=False):
        """Start it and wait for its end."""
        name = next((name for name in OF if params[name]), None)
        if name is None:
            raise ApiError(f"{', '.join(OF)} are empty: name hosts, or what has some")
        kind, scope, where = name[:-1], {}, ""
        if params["zone"] and kind != "zone":
            scope = {"zoneid": lookup(client, "zone", params["zone"])["id"]}
            where = f" in zone {params['zone']!r}"
        ids = [lookup(client, kind, value, where, **scope)["id"] for value in params[name]]
        body = {f"{kind}ids": ids, "forced": params["forced"] or None}
        body.update({option: params[option] for option in ("payload", "timeout")})
        if check_mode:
            return {"changed": True, "diff": {"before": {}, "after": {name: params[name]}}}
        started = time.monotonic()
        done, job_id = client.run(COMMAND, body, params["wait"], params["wait_timeout"])
        result = {"changed": True, "job_id": job_id, "duration": round(time.monotonic() - started, 3)}
        if done is None:
            return result
        result["hosts_updated"], result["hosts_skipped"] = done.get("hostsupdated", []), done.get("hostsskipped", [])
        result["changed"] = bool(result["hosts_updated"])
        if not done.get("success"):
            return {**result, "failed": True, "msg": f"{COMMAND}: {done.get('details')}"}
        return result


ENTITY = RollingMaintenance()

if __name__ == "__main__":
    ENTITY.main()
