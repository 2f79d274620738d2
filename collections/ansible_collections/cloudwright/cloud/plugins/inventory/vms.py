# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines as inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vms
short_description: Virtual machines of the cloud
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
description:
  - Makes a host of each virtual machine that the server lets through the filters.
  - The configuration is a YAML file whose name ends in V(cloudwright.yml) or V(cloudwright.yaml).
  - All fields of the API become host variables that start with C(cloudwright_). Secrets and user data are left out.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [cloudwright.cloud.vms]
  api_url:
    description: Address of the management server, with or without C(/client/api).
    type: str
    env:
      - name: CLOUDWRIGHT_API_URL
  api_key:
    description: API key of the user who looks.
    type: str
    env:
      - name: CLOUDWRIGHT_API_KEY
  api_secret:
    description: Secret that belongs to O(api_key).
    type: str
    env:
      - name: CLOUDWRIGHT_API_SECRET
  api_credentials_file:
    description: JSON file with C(api_url), C(api_key) and C(api_secret), for what the other options do not give.
    type: path
    env:
      - name: CLOUDWRIGHT_API_CREDENTIALS_FILE
  api_timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 60
  api_retries:
    description: How often a call is tried again when the server is busy, unavailable or out of reach.
    type: int
    default: 5
  validate_certs:
    description: Whether to verify the certificate of the management server.
    type: bool
    default: true
  zone:
    description: Name or id of the only zone to look in.
    type: str
  network:
    description: Name or id of a network that machines must be in. The address in it becomes C(ansible_host).
    type: str
  filters:
    description:
      - More parameters of C(listVirtualMachines), such as C(state), C(keyword), C(hostid), C(account) or C(tags).
      - The server applies them.
    type: dict
    default: {}
  list_all:
    description: Whether to return what other accounts own, too, as far as it may be seen.
    type: bool
    default: false
  hostname:
    description: Field of the API, or a template of the variables C(cloudwright_...), that names the host.
    type: str
    default: name
"""

EXAMPLES = r"""
# lab.cloudwright.yml
plugin: cloudwright.cloud.vms
api_credentials_file: ~/.config/cloudwright.json
zone: lab
filters:
  state: Running
  tags:
    - key: role
      value: web
hostname: "{{ cloudwright_displayname | default(cloudwright_name) }}"
keyed_groups:
  - prefix: offering
    key: cloudwright_serviceofferingname
compose:
  ansible_user: "'admin'"
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/cloudwright
"""

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError, Client
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import SECRETS
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import list_entities, lookup

OPTIONS = ("api_url", "api_key", "api_secret", "api_credentials_file", "api_timeout", "api_retries", "validate_certs")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """One host for each machine."""

    NAME = "cloudwright.cloud.vms"

    def verify_file(self, path):
        """Whether the file is for this plugin, by its name."""
        return super().verify_file(path) and path.endswith(("cloudwright.yml", "cloudwright.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        """Fill the inventory, from the cache if there is one and it may be used."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        key = self.get_cache_key(path)
        use = cache and self.get_option("cache")
        if use and key in self._cache:
            machines = self._cache[key]
        else:
            machines = self.fetch()
            if self.get_option("cache"):
                self._cache[key] = machines
        for machine in machines:
            self.place(machine)

    def fetch(self):
        """The machines, each with the address to reach it at."""
        options = {name: self.get_option(name) for name in OPTIONS}
        wanted = {"zone": None, "network": None}
        try:
            client = Client(options, read_only=True)
            for kind in wanted:
                name = self.get_option(kind)
                name = self.templar.template(name) if name else None
                scope = {"zoneid": wanted["zone"]} if kind == "network" else {}
                wanted[kind] = lookup(client, kind, name, **scope)["id"] if name else None
            found = list_entities(
                client,
                "vm",
                **{
                    "listall": self.get_option("list_all") or None,
                    **self.get_option("filters"),
                    **{f"{kind}id": ident for kind, ident in wanted.items() if ident},
                },
            )
        except ApiError as exc:
            raise AnsibleParserError(str(exc)) from exc
        return [
            {**{k: v for k, v in machine.items() if k not in SECRETS}, "address": address(machine, wanted["network"])}
            for machine in found
        ]

    def place(self, machine):
        """One machine in the inventory."""
        variables = {f"cloudwright_{name}": value for name, value in machine.items() if name != "address"}
        template = self.get_option("hostname")
        if "{{" in template:
            self.templar.available_variables = variables
            name = self.templar.template(template)
        else:
            name = machine.get(template)
        if not name:
            raise AnsibleParserError(f"hostname {template!r} gives nothing for the machine {machine['id']}")
        name = self.inventory.add_host(str(name))
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        if machine["address"]:
            self.inventory.set_variable(name, "ansible_host", machine["address"])
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def address(machine, network):
    """The address in a network, or the first one, or None."""
    nics = [nic for nic in machine.get("nic", []) if network in (None, nic.get("networkid"))]
    return next((nic["ipaddress"] for nic in nics if nic.get("ipaddress")), None)
