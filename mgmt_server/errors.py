"""Errors that reach the caller, with CloudStack's codes.

`code` is the HTTP status and `errorcode`, `cs_code` is `cserrorcode`. The text says what is wrong and what to do.
"""

from __future__ import annotations


class ApiError(Exception):
    code = 530
    cs_code = 9999

    def __init__(
        self, text: str, *, uuids: tuple[tuple[str, str], ...] = (), cs_code: int | None = None, inventory: str = ""
    ) -> None:
        super().__init__(text)
        self.uuids = uuids  # (uuid, what it is) of the entities the text is about
        self.inventory = inventory  # what root administrators read instead: it names hosts and pools
        if cs_code is not None:
            self.cs_code = cs_code


class MalformedParameter(ApiError):
    code = 430


class ParameterError(ApiError):
    """A parameter is missing, malformed, or names nothing that the caller may use."""

    code = 431


class InvalidValue(ParameterError):
    """A parameter is well formed, and its value is refused by what the command means."""

    cs_code = 4350


class NotPermitted(ApiError):
    """No such command, or not for this caller."""

    code = 432


class Unauthenticated(ApiError):
    code = 401


class AccountError(ApiError):
    code = 531
    cs_code = 4365


class LimitExceeded(ApiError):
    code = 535
    cs_code = 4370


class NoCapacity(ApiError):
    """Nothing has room: the text names each candidate and what it lacked."""

    code = 533
    cs_code = 4335


class NoAddress(NoCapacity):
    cs_code = 4320


class Unavailable(ApiError):
    """A host, an agent or a storage did not answer or is in the wrong state."""

    code = 534
    cs_code = 4380


class InUse(ApiError):
    code = 536
    cs_code = 4375


class Failed(ApiError):
    """The outside world tried and failed."""

    code = 530
    cs_code = 4250
