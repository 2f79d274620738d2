"""Redfish controllers: the first system of the service is the host.

What it calls its actions, and which ways of switching it has, the system itself tells.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from mgmt_server.drivers.power import Controller
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.settings import Setting

if TYPE_CHECKING:
    import httpx  # where it is used: most clouds never need it, and it takes its time and memory

UNCHECKED = Setting("redfish.ignore.ssl", "Whether certificates of Redfish controllers are taken unchecked")
AUTHORITIES = Setting(
    "redfish.ca.certificate",
    "File (PEM) on each management server with the authorities of Redfish controllers; none: those that it trusts",
    type="String", default="",
)  # fmt: skip
TLS = Setting("redfish.use.https", "Whether Redfish controllers are asked with HTTPS")
RETRIES = Setting("redfish.retries", "How often a Redfish controller is asked again that does not answer", least=0)

# the first that the system allows
RESETS = {
    "ON": ("On", "ForceOn"), "OFF": ("ForceOff",), "CYCLE": ("PowerCycle", "ForceRestart"),
    "RESET": ("ForceRestart", "PowerCycle"), "SOFT": ("GracefulShutdown", "PushPowerButton"),
}  # fmt: skip
GOALS = {"ON": "On", "OFF": "Off", "SOFT": "Off"}  # a system that is so already may refuse the action


class Redfish:
    def act(self, controller: Controller, action: str, timeout: float) -> str:
        with _client(controller, timeout) as client:
            path = _system(client, controller)
            system = _get(client, controller, path)
            power = str(system.get("PowerState", ""))
            if action == "STATUS":
                return power if power in ("On", "Off") else "Unknown"
            if power != GOALS.get(action):
                target, kind = _reset(controller, path, system, action)
                _send(client, controller, "POST", target, {"ResetType": kind})
            return ""

    def change_password(self, controller: Controller, password: str, timeout: float) -> None:
        with _client(controller, timeout) as client:
            accounts = _get(client, controller, "/redfish/v1/AccountService/Accounts").get("Members", [])
            for path in _paths(accounts):
                answer = _send(client, controller, "GET", path)
                if _content(answer, controller).get("UserName") == controller.username:
                    seen = {"If-Match": answer.headers["ETag"]} if "ETag" in answer.headers else {}
                    _send(client, controller, "PATCH", path, {"Password": password}, seen)
                    return
        raise Failed(f"the controller of host {controller.name} lists no user {controller.username}")


def _client(controller: Controller, timeout: float) -> httpx.Client:
    import httpx

    host = f"[{controller.address}]" if ":" in controller.address else controller.address
    return httpx.Client(
        base_url=f"{'https' if TLS.flag() else 'http'}://{host}:{controller.port}",
        auth=(controller.username, controller.password),
        timeout=timeout,
        transport=httpx.HTTPTransport(retries=RETRIES.number(), verify=_trusted()),
        trust_env=False,
    )


def _trusted() -> ssl.SSLContext | bool:
    if UNCHECKED.flag():
        return False
    authorities = AUTHORITIES.text()
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except (OSError, ssl.SSLError) as error:
        raise Failed(f"{AUTHORITIES.name}={authorities} has no certificates: {error.strerror or error}") from None


def _paths(members: Any) -> list[str]:
    """Paths of a collection's members."""
    found = [str(m.get("@odata.id", "")) for m in members if isinstance(m, dict)]
    return [path for path in found if _own(path)]


def _own(path: str) -> bool:
    """Others than paths of the controller itself would send the password elsewhere."""
    return path.startswith("/") and not path.startswith("//")


def _system(client: httpx.Client, controller: Controller) -> str:
    paths = _paths(_get(client, controller, "/redfish/v1/Systems").get("Members", []))
    if not paths:
        raise Failed(f"the controller of host {controller.name} has no system to switch")
    return paths[0]


def _reset(controller: Controller, path: str, system: dict[str, Any], action: str) -> tuple[str, str]:
    """Where the system takes the action, and what it calls it."""
    actions = system.get("Actions")
    told = actions.get("#ComputerSystem.Reset") if isinstance(actions, dict) else None
    told = told if isinstance(told, dict) else {}
    target = str(told.get("target", ""))
    allowed = told.get("ResetType@Redfish.AllowableValues")
    if not isinstance(allowed, list):
        allowed = RESETS[action]
    kind = next((name for name in RESETS[action] if name in allowed), None)
    if kind is None:
        raise Failed(
            f"the controller of host {controller.name} cannot do {action}: it has none of {', '.join(RESETS[action])}, "
            f"but {', '.join(map(str, allowed))}"
        )
    return target if _own(target) else f"{path.rstrip('/')}/Actions/ComputerSystem.Reset", kind


def _get(client: httpx.Client, controller: Controller, path: str) -> dict[str, Any]:
    return _content(_send(client, controller, "GET", path), controller)


def _content(answer: httpx.Response, controller: Controller) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failed(f"the controller of host {controller.name} does not speak Redfish")
    return found


def _send(
    client: httpx.Client,
    controller: Controller,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    import httpx

    try:
        answer = client.request(method, path, json=body, headers=headers)
    except httpx.TransportError as error:
        why = str(error) if "certificate" in str(error).lower() else type(error).__name__
        raise Unavailable(f"the controller of host {controller.name} does not answer: {why}") from None
    if answer.status_code in (401, 403):
        raise Failed(f"the controller of host {controller.name} refuses the user {controller.username}")
    if answer.status_code >= 300:
        raise Failed(f"the controller of host {controller.name} answered {answer.status_code} to {method} {path}")
    return answer
