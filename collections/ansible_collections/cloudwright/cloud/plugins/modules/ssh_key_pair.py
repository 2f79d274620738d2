#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage SSH key pairs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_key_pair
short_description: Manage SSH key pairs
description:
  - Register, create and delete the SSH key pairs that new machines trust.
  - With O(public_key) that key is registered. Without it the server makes a new pair, and its private half is
    returned once and never again.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the key pair.
    type: str
    required: true
  public_key:
    description:
      - Public key in the format of OpenSSH. Another key under the same name is an error, never a silent replacement.
      - Cannot change after creation.
    type: str
  state:
    description: Whether the key pair exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Register my key
  cloudwright.cloud.ssh_key_pair:
    name: mine
    public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Let the server make a pair
  cloudwright.cloud.ssh_key_pair:
    name: made
  no_log: true
  register: made
"""

RETURN = r"""
entity:
  description:
    - The key pair with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
private_key:
  description: Private half of a pair that the server just made. Use C(no_log) to keep it out of the output.
  returned: when the server made a pair
  type: str
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

import base64
import hashlib

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED


def fingerprint(key):
    """What answers show of a public key: the MD5 of its body, in the notation of OpenSSH."""
    parts = key.split()
    try:
        body = base64.b64decode(parts[1] if len(parts) > 1 else parts[0], validate=True)
    except (ValueError, IndexError) as exc:
        raise ApiError("public_key is not in the format of OpenSSH: type, body in Base64, comment") from exc
    digest = hashlib.md5(body).hexdigest()  # noqa: S324
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


ENTITY = Entity(
    "ssh_key_pair",
    create=lambda params: "registerSSHKeyPair" if params["public_key"] else "createSSHKeyPair",
    delete="deleteSSHKeyPair",
    target=("name", "domain", "account", "project"),
    reveal={"privatekey": "private_key"},
    fields={
        "name": {"type": "str", "required": True, "update": False},
        "public_key": {"type": "str", "field": "fingerprint", "shown": fingerprint, "update": False},
        **OWNED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
