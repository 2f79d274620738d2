"""Redfish controllers: the first system of the service is the host."""

from __future__ import annotations

from typing import Any

import httpx

from mgmt_server.drivers.power import Controller
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.settings import Setting

UNCHECKED = Setting("redfish.ignore.ssl", "Whether certificates of Redfish controllers are taken unchecked")
TLS = Setting("redfish.use.https", "Whether Redfish controllers are asked with HTTPS")
RETRIES = Setting("redfish.retries", "How often a Redfish controller is asked again that does not answer", least=0)

RESETS = {
    "ON": "On", "OFF": "ForceOff", "CYCLE": "PowerCycle", "RESET": "ForceRestart", "SOFT": "GracefulShutdown",
}  # fmt: skip


class Redfish:
    def act(self, controller: Controller, action: str, timeout: float) -> str:
        with _client(controller, timeout) as client:
            system = _system(client, controller)
            if action == "STATUS":
                said = str(_get(client, controller, system).get("PowerState", ""))
                return said if said in ("On", "Off") else "Unknown"
            target = f"{system.rstrip('/')}/Actions/ComputerSystem.Reset"
            _send(client, controller, "POST", target, {"ResetType": RESETS[action]})
            return ""

    def change_password(self, controller: Controller, password: str, timeout: float) -> None:
        with _client(controller, timeout) as client:
            accounts = _get(client, controller, "/redfish/v1/AccountService/Accounts").get("Members", [])
            for path in _paths(accounts):
                if _get(client, controller, path).get("UserName") == controller.username:
                    _send(client, controller, "PATCH", path, {"Password": password})
                    return
        raise Failed(f"the controller of host {controller.name} lists no user {controller.username}")


def _client(controller: Controller, timeout: float) -> httpx.Client:
    host = f"[{controller.address}]" if ":" in controller.address else controller.address
    return httpx.Client(
        base_url=f"{'https' if TLS.flag() else 'http'}://{host}:{controller.port}",
        auth=(controller.username, controller.password),
        timeout=timeout,
        transport=httpx.HTTPTransport(retries=RETRIES.number(), verify=not UNCHECKED.flag()),
        trust_env=False,
    )


def _paths(members: Any) -> list[str]:
    """Paths of a collection's members. Others than paths of the controller itself would send the password elsewhere."""
    found = [str(m.get("@odata.id", "")) for m in members if isinstance(m, dict)]
    return [path for path in found if path.startswith("/") and not path.startswith("//")]


def _system(client: httpx.Client, controller: Controller) -> str:
    paths = _paths(_get(client, controller, "/redfish/v1/Systems").get("Members", []))
    if not paths:
        raise Failed(f"the controller of host {controller.name} has no system to switch")
    return paths[0]


def _get(client: httpx.Client, controller: Controller, path: str) -> dict[str, Any]:
    try:
        found = _send(client, controller, "GET", path).json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failed(f"the controller of host {controller.name} does not speak Redfish")
    return found


def _send(client: httpx.Client, controller: Controller, method: str, path: str, body: Any = None) -> httpx.Response:
    try:
        answer = client.request(method, path, json=body)
    except httpx.TransportError as error:
        raise Unavailable(f"the controller of host {controller.name} does not answer: {type(error).__name__}") from None
    if answer.status_code in (401, 403):
        raise Failed(f"the controller of host {controller.name} refuses the user {controller.username}")
    if answer.status_code >= 400:
        raise Failed(f"the controller of host {controller.name} answered {answer.status_code} to {method} {path}")
    return answer
