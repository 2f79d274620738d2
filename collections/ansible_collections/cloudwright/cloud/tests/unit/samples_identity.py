# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of the modules about who may do what, and how much: as in samples.py, whose SAMPLES hold them too.

PEOPLE are modules with options, to be run in this order before: what the samples take as given.
"""

from __future__ import annotations

PERSON = {"first_name": "C", "last_name": "Test", "email": "c@x.test", "password": "not-a-secret-1"}
TENANT = {"name": "tenant", "domain": "ROOT/tenants"}

PEOPLE = [
    ("domain", {"path": "ROOT/tenants"}),
    ("account", {**TENANT, **PERSON, "account_type": "user"}),
    ("account", {"name": "keeper", "domain": "ROOT/tenants", **PERSON}),
    ("project", {"name": "ours", "domain": "ROOT/tenants", "account": "keeper"}),
    ("role", {"name": "auditor", "type": "User"}),
    ("role_permission", {"role": "auditor", "rule": "listVirtualMachines", "permission": "allow"}),
    ("tag", {"resource_type": "Account", "resource": "keeper", "domain": "ROOT/tenants", "tags": {"kept": "yes"}}),
]

SAMPLES = {
    "domain": {
        "create": {"path": "ROOT/tenants/cycle"},
        "update": {"network_domain": "cycle.test"},
        "rename": {"path": "ROOT/renamed"},
    },
    "account": {
        "create": {"name": "cycle", "domain": "ROOT/tenants", "role": "User", **PERSON},
        "update": {"network_domain": "cycle.test", "api_key_access": "disabled"},
        "states": ["disabled", "locked", "enabled"],
        "fixed": {"account_type": "root_admin"},
        "rename": True,
    },
    "user": {
        "create": {"name": "person", "domain": "ROOT/tenants", "account": "tenant", **PERSON},
        "update": {"last_name": "Changed", "timezone": "Europe/Zurich", "account": "keeper"},
        "states": ["disabled", "locked", "enabled"],
        "rename": True,
    },
    "role": {
        "create": {"name": "cycle", "clone_of": "User", "description": "as made"},
        "update": {"description": "changed", "is_public": False},
        "states": ["disabled", "enabled"],
        "rename": True,
    },
    "role_permission": {
        "create": {"role": "auditor", "rule": "list*", "permission": "allow"},
        "update": {"permission": "deny", "position": 1},
    },
    "project": {
        "create": {"name": "cycle", "domain": "ROOT/tenants", "account": "keeper"},
        "update": {"display_text": "changed"},
        "states": ["suspended", "active"],
        "rename": True,
    },
    "project_member": {
        "create": {"project": "ours", "domain": "ROOT/tenants", "account": "tenant"},
        "update": {"role": "Admin"},
        "called": "tenant",
    },
    "resource_limit": {
        "exists": True,
        "create": {"domain": "ROOT/tenants", "account": "tenant", "resource_type": "user_vm", "max": 7},
        "update": {"max": 9},
        "called": "user_vm",
        "end": {"state": "absent"},
    },
    "tag": {
        "exists": True,
        "create": {"resource_type": "Account", "resource": "tenant", "domain": "ROOT/tenants", "tags": {"a": "1"}},
        "update": {"tags": {"a": "2", "b": "3"}},
        "called": "a",
        "end": {"state": "absent"},
    },
    "dedication": {
        "create": {"resource_type": "zone", "resource": "spare", "domain": "ROOT/tenants", "account": "tenant"},
        "fixed": {"account": "keeper"},
        "called": "spare",
    },
    "guest_vlan_range": {
        "create": {
            "vlan_range": "150-154",
            "zone": "lab",
            "physical_network": "net",
            "domain": "ROOT/tenants",
            "account": "tenant",
        },
        "fixed": {"account": "keeper"},
        "called": "150-154",
    },
}
