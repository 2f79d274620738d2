#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_download
short_description: Download images
description:
  - Have the server make a link to the content of a template, an ISO, a volume or a snapshot, and fetch it into a file.
  - Whoever has the link can use it until it expires.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  kind:
    description: What is downloaded.
    type: str
    choices: [template, iso, volume, snapshot]
    required: true
  name:
    description: Name or id of it.
    type: str
    required: true
  zone:
    description: Name or id of the zone that has it.
    type: str
    required: true
  path:
    description:
      - File to be made, where the task runs. This is the controller, unless the task is delegated to another machine.
      - When it is there already, nothing is done.
      - Without it, only the link is made, which is a change each time.
    type: path
  forced:
    description: Whether a file that is there already is fetched again.
    type: bool
    default: false
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Have a copy of a template
  cloudwright.cloud.image_download:
    kind: template
    name: tiny
    zone: lab
    path: /srv/images/tiny.qcow2

- name: Make a link to a disk
  cloudwright.cloud.image_download:
    kind: volume
    name: web1-data
    zone: lab
  register: link
"""

RETURN = r"""
url:
  description: The link. None when there was nothing to do, and in check mode.
  returned: success
  type: str
path:
  description: The file, where one was asked for.
  returned: success
  type: str
job_id:
  description: Id of the job that the server started for the task.
  returned: when there was one
  type: str
"""

import os

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, WAIT_SPEC, ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Runnable
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup

COMMANDS = {"template": "Template", "iso": "Iso", "volume": "Volume", "snapshot": "Snapshot"}


class ImageDownload(Runnable):
    """A link is made by a job, and is no entity that could be found again."""

    OPTIONS = {
        "kind": {"type": "str", "choices": list(COMMANDS), "required": True},
        "name": {"type": "str", "required": True},
        "zone": {"type": "str", "required": True},
        "domain": {"type": "str"},
        "account": {"type": "str"},
        "project": {"type": "str"},
        "path": {"type": "path"},
        "forced": {"type": "bool", "default": False},
    }
    argument_spec = {**API_SPEC, **WAIT_SPEC, **OPTIONS}

    def converge(self, client, params, check_mode=False):
        """Make the link, and the file."""
        path, zone = params["path"], lookup(client, "zone", params["zone"])["id"]
        there = bool(path) and os.path.exists(path)
        result = {"changed": not there or params["forced"], "url": None, "path": path}
        if result["changed"]:
            result["diff"] = {"before": {"path": path if there else None}, "after": {"path": path}}
        scope = {} if params["kind"] == "snapshot" else {"zoneid": zone}
        for kind in ("domain", "project"):
            if params[kind]:
                scope[f"{kind}id"] = lookup(client, kind, params[kind])["id"]
        if params["account"]:
            scope["account"] = params["account"]
        found = lookup(client, params["kind"], params["name"], **scope)
        if check_mode or not result["changed"]:
            return result
        body = {"id": found["id"], "zoneid": zone, "mode": "HTTP_DOWNLOAD"}
        command = f"extract{COMMANDS[params['kind']]}"
        link, job_id = client.run(command, body, True, params["wait_timeout"])
        if not (link and link.get("url")):
            raise ApiError(f"{command}: the server made no link", job_id=job_id)
        if path:
            client.download(link["url"], path, params["wait_timeout"])
        return {**result, "url": link["url"], "job_id": job_id}


ENTITY = ImageDownload()

if __name__ == "__main__":
    ENTITY.main()
