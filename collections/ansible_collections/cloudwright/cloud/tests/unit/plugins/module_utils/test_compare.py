# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a difference."""

from __future__ import annotations

import pytest
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN, same

SAME = [
    (True, "true"),
    (False, None),
    (2, "2.0"),
    ("20", "20"),
    ("True", "true"),
    ("", None),
    ([], None),
    (["b", "a"], "a,b"),
    (["b", "a"], ["a", "b"]),
    ("10.0.0.1", ["10.0.0.1"]),
    ({"a": 1}, {"a": "1", "b": "2"}),
    ([{"s": "Dns"}, {"s": "Dhcp"}], [{"s": "Dhcp", "p": 1}, {"s": "Dns"}]),
    ("anything", UNKNOWN),
]
OTHER = [
    (True, None),
    (False, "true"),
    (2, "3"),
    ("1.10", "1.1"),
    ("Web", "web"),
    ("x", None),
    ([], "a"),
    (["a"], "a,b"),
    (["a", "a"], ["a", "b"]),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, None),
    ([{"s": "Dns"}], [{"s": "Dns"}, {"s": "Dhcp"}]),
]


@pytest.mark.parametrize("wanted, have", SAME)
def test_same(wanted, have):
    assert same(wanted, have)


@pytest.mark.parametrize("wanted, have", OTHER)
def test_other(wanted, have):
    assert not same(wanted, have)
