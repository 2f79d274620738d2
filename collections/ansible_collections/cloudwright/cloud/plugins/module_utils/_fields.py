# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of several kinds of entities; plugins/doc_fragments/fields.py describes them.  Private to this collection."""

from __future__ import annotations


def each(fields, **more):
    """Fields that all have something more."""
    return {name: {**entry, **more} for name, entry in fields.items()}


# what belongs to an account or a project
OWNER = {
    "domain": {"type": "str", "ref": "domain"},
    "account": {"type": "str"},
    "project": {"type": "str", "ref": "project"},
}
OWNED = each(OWNER, find=True, update=False)
OWNED_BESIDE = each(OWNER, find=True, use="scope")  # by what it is made from
OWNER_OF_REFERENCES = each(OWNER, use="scope")
LISTED = {**OWNER, "list_all": {"type": "bool", "default": False}}

# what is in a cluster
PLACE = {
    "zone": {"type": "str", "ref": "zone"},
    "pod": {"type": "str", "ref": "pod", "within": ("zone",)},
    "cluster": {"type": "str", "ref": "cluster", "within": ("zone", "pod")},
}
PLACED = each(PLACE, find=True, use="scope")

# a disk that something else is about: itself, or the root disk of a machine
DISK = {
    "volume": {"type": "str", "ref": "volume", "within": ("zone", "domain", "account", "project")},
    "vm": {
        "type": "str",
        "ref": "root_volume",
        "api": "volumeid",
        "within": ("zone", "domain", "account", "project"),
    },
}
OF_DISK = each(DISK, find=True, update=False)

# what is in a machine
MACHINE = {
    "vm": {
        "type": "str",
        "required": True,
        "ref": "vm",
        "api": "virtualmachineid",
        "within": ("zone", "domain", "account", "project"),
    },
    "zone": {"type": "str", "ref": "zone", "use": "scope"},
    **OWNER_OF_REFERENCES,
}


def cache(offering):
    """How hosts cache; answers leave out that they do not."""
    return offering.get("cacheMode", "none")


def disks(**more):
    """What offerings say of disks, with what more holds of what can change of it."""
    rates = {
        f"{what}_{way}_rate": {"type": "int", "field": f"disk{what.title()}{way.title()}Rate", **more}
        for what in ("bytes", "iops")
        for way in ("read", "write")
    }
    return {
        "storage_type": {"type": "str", "choices": ["local", "shared"], "update": False},
        "provisioning_type": {"type": "str", "choices": ["thin", "sparse", "fat"], "update": False},
        "cache_mode": {
            "type": "str",
            "choices": ["none", "writeback", "writethrough"],
            "field": "cacheMode",
            "read": cache,
            **more,
        },
        "customized_iops": {"type": "bool", "field": "iscustomizediops", "update": False},
        "min_iops": {"type": "int", "update": False},
        "max_iops": {"type": "int", "update": False},
        **rates,
    }


# who may use an offering, and where
RESTRICTED = {
    "domains": {"type": "list", "elements": "str", "ref": "domain", "api": "domainid"},
    "zones": {"type": "list", "elements": "str", "ref": "zone", "api": "zoneid"},
}
