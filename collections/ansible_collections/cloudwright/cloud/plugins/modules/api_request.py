#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call any command of the API."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_request
short_description: Call any command of the API
description:
  - Send one command, for what has no module yet.
  - Commands that start with list, get, query or find never report a change. All others always do, and are not sent in
    check mode.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  command:
    description: Name of the command, such as V(listZones).
    type: str
    required: true
  params:
    description: Parameters of the command. A list is sent with commas, a dictionary as C(name[0].key=value), a list
      of dictionaries as C(name[i].key=value).
    type: dict
    default: {}
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Reserve a public address
  cloudwright.cloud.api_request:
    command: associateIpAddress
    params:
      zoneid: 1f573c02-cc54-4e61-b243-8cc813a5d5bd
  register: address

- name: Tag it
  cloudwright.cloud.api_request:
    command: createTags
    params:
      resourcetype: PublicIpAddress
      resourceids: ["{{ address.response.ipaddress.id }}"]
      tags:
        - key: use
          value: web
"""

RETURN = r"""
response:
  description: What stands under the outer key of the answer. After waiting for a job, the job's result.
  returned: success
  type: dict
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

import time

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, WAIT_SPEC, ApiError, is_read
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Runnable


class ApiRequest(Runnable):
    """One command, as it is."""

    OPTIONS = {
        "command": {"type": "str", "required": True},
        "params": {"type": "dict", "default": {}},
    }
    argument_spec = {**API_SPEC, **WAIT_SPEC, **OPTIONS}

    def converge(self, client, params, check_mode=False):
        """Send the command unless it is check mode and would change something."""
        command, sent = params["command"], params["params"]
        reserved = {"command", "response", "apikey", "signature", "signatureversion", "expires"}
        wrong = sorted(name for name in sent if name.lower() in reserved)
        if wrong:
            raise ApiError(f"params must not hold {', '.join(wrong)}: the module sets it")
        if is_read(command):
            return {"changed": False, "response": client.call(command, **sent)}
        if check_mode:
            return {"changed": True, "response": {}}
        started = time.monotonic()
        response = client.call(command, **sent)
        result = {"changed": True, "response": response}
        if "jobid" in response:
            result["job_id"] = response["jobid"]
            if params["wait"]:
                result["response"] = client.wait(response["jobid"], command, params["wait_timeout"])
            result["duration"] = round(time.monotonic() - started, 3)
        return result


ENTITY = ApiRequest()

if __name__ == "__main__":
    ENTITY.main()
