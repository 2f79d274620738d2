"""Documents for tests: a network of two guests."""

from __future__ import annotations

import base64
from typing import Any

ROUTER_MAC = "02:00:00:01:00:01"
CONTROL_MAC = "0e:00:a9:fe:0a:14"
USER_DATA = "#!/bin/sh\necho hello-from-userdata > /www/userdata.html\n"
FIRST = {"mac": "02:00:00:01:00:0b", "address": "10.1.1.11", "hostname": "vm-a"}
SECOND = {"mac": "02:00:00:01:00:0c", "address": "10.1.1.12", "hostname": "vm-b"}


def guest(lease: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {
        "instance-id": f"i-{lease['hostname']}",
        "local-hostname": lease["hostname"],
        **more.pop("metadata", {}),
    }
    user_data = base64.b64encode(USER_DATA.encode()).decode()
    return {"address": lease["address"], "metadata": metadata, "user_data": user_data, **more}


def document(version: int = 1, **changes: Any) -> dict[str, Any]:
    """A router with one guest interface, as the server would send it."""
    return {
        "name": "r-4-VM",
        "version": version,
        "interfaces": [
            {"name": "eth0", "mac": ROUTER_MAC, "traffic": "Guest", "address": "10.1.1.1", "prefix": 24},
            {"name": "eth1", "mac": CONTROL_MAC, "traffic": "Control", "address": "169.254.10.20", "prefix": 16},
        ],
        "domain": "cs1.internal",
        "dns": ["192.0.2.53"],
        "gateway": "10.1.1.1",
        "leases": [FIRST],
        "guests": [guest(FIRST)],
        **changes,
    }
