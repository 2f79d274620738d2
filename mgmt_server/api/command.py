"""What a command is: one decorated function. All else about it is read off its signature and the protocol's facts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.facts import of_command
from mgmt_server.api.listing import Rows, scope_parameters
from mgmt_server.api.parameters import Parameter, entries, parameter
from mgmt_server.api.projects import check_allowed
from mgmt_server.api.view import View
from mgmt_server.db import Base
from mgmt_server.errors import InvalidValue, NotPermitted, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.tenancy import Caller

F = TypeVar("F", bound=Callable[..., Any])

# Internal names of the protocol and what every command takes: never parameters of a body
RESERVED = {"command", "response", "apikey", "signature", "signatureversion", "expires", "sessionkey", "customjobid"}


@dataclass(frozen=True)
class Command:
    name: str
    run: Callable[..., Any]
    roles: tuple[str, ...]
    answers: View | None
    event: str | None
    kind: str  # list, async, object, success, plain
    is_list: bool
    is_async: bool
    creates: bool  # the answer of an asynchronous one carries the new id
    created: str  # the event that its object is told as made with, before its job is queued; empty for none
    one_in_list: bool  # answers a list of one
    key: str  # of the object or objects in the answer
    reads: bool  # no transaction is opened for it
    description: str
    parameters: tuple[Parameter, ...]
    unsupported: tuple[str, ...]
    resource_type: str | None
    response: str
    response_name: str
    since: str
    simulator_only: bool = False
    anonymous: bool = False
    outside: bool = False  # it waits for the outside world


registry: dict[str, Command] = {}


def command(
    name: str,
    *,
    roles: tuple[str, ...],
    answers: View | None = None,
    event: str | None = None,
    key: str | None = None,
    one_in_list: bool = False,
    reads: bool = False,
    unsupported: tuple[str, ...] = (),
    own: bool = False,
    simulator_only: bool = False,
    outside: bool = False,
    anonymous: bool = False,
) -> Callable[[F], F]:
    """Register a function as API command `name`.

    Its parameters become the command's, its docstring's first line the description, and lines `parameter: text` under
    it theirs. What it returns says what it is: Rows a list, Accepted a job, an entity an object through `answers`, a
    dict an object as it stands (under `key`, or plain when that is ""), None success.
    `unsupported` are parameters of the protocol that have no effect yet: sending one is refused, not ignored.
    `own` marks a command that the protocol does not have. `reads`: it changes nothing, though it is no list.
    `outside`: its body asks the outside world, and writes in transactions of its own: none is open meanwhile.
    `anonymous`: it needs neither key nor session, and runs as the system: for people who cannot log in.
    """
    known = of_command(name)
    if not roles:
        raise TypeError(f"{name}: who may call it?")
    if known is None and not own:
        raise TypeError(f"{name} is no command of the protocol; say own=True for one of ours")
    known = known or {"params": {}, "responseName": f"{name.lower()}response"}

    def register(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        told = dict(re.findall(r"^\s*(\w+): (.+)$", function.__doc__ or "", re.M))
        taken = list(inspect.signature(function).parameters.items())[1:]
        own_parameters = []
        for n, p in taken:
            fact = known["params"].get(n.rstrip("_"))
            if fact is None and not own:
                raise TypeError(f"{name} has no parameter {n} in the protocol")
            required = p.default is p.empty
            if fact and bool(fact.get("required")) and not required:
                raise TypeError(f"{name}: {n} is required by the protocol")
            own_parameters.append(parameter(n, hints[n], required, told.get(n.rstrip("_"), ""), fact))
        returns = hints["return"]
        is_list, is_async = returns is Rows, returns is Accepted
        more = scope_parameters(known, {p.name for p in own_parameters}) if is_list or known.get("list") else ()
        shape = known.get("jsonKind", "success")
        registry[name] = Command(
            name=name,
            run=function,
            roles=roles,
            answers=answers,
            event=event,
            kind="list" if is_list else shape,
            is_list=is_list or bool(known.get("list")),
            is_async=is_async,
            creates=bool(known.get("asyncCreate")),
            created=next(iter(known.get("createEvents") or ()), "") if event else "",
            one_in_list=one_in_list,
            key=key if key is not None else (answers.key if answers else str(known.get("objectName") or "")),
            reads=reads or is_list or outside,
            description=(function.__doc__ or "").strip().split("\n")[0],
            parameters=(*own_parameters, *more),
            unsupported=unsupported,
            resource_type=known.get("resourceType"),
            response=known.get("response", "SuccessResponse"),
            response_name=known.get("responseName", f"{name.lower()}response"),
            since=known.get("since", ""),
            simulator_only=simulator_only,
            anonymous=anonymous,
            outside=outside,
        )
        return function

    return register


def find(caller: Caller, name: str) -> Command:
    asked = registry.get(name)
    if asked is None or not caller.may_call(asked.name, asked.roles):
        raise NotPermitted(
            f"The given command '{name[:100]}' either does not exist, is not available for user, or not available from "
            "ip address. See listApis for what this user may call."
        )
    return asked


def call(
    caller: Caller,
    session: Session,
    asked: Command,
    sent: Mapping[str, str],
    correlation: str = "",
    simulator: bool = False,
) -> tuple[Context, Any]:
    """Bind the parameters and run the command: its context and what its body returned."""
    ctx = Context(caller, session, asked, sent, correlation, simulator)
    bound = bind(ctx, asked, sent)
    if isinstance(bound.get("id"), Base):
        ctx.subject = bound["id"]
    return ctx, asked.run(ctx, **bound)


def bind(ctx: Context, asked: Command, sent: Mapping[str, str]) -> dict[str, Any]:
    bound: dict[str, Any] = {}
    scope = _SCOPE if asked.is_list else frozenset()
    for p in asked.parameters:
        if p.roles and ctx.caller.role not in p.roles:
            continue
        sent_as = p.name.lower()
        value: Any = (entries(sent_as, sent) or None) if p.grouped else sent.get(sent_as)
        # an empty id would widen a list to everything; elsewhere an empty text is one that was not sent
        if value is None or (value == "" and not p.required and not (p.type == "uuid" and asked.is_list)):
            if p.required:
                raise ParameterError(
                    f"Unable to execute API command {asked.name.lower()} due to missing parameter {p.name}"
                )
            continue
        if value == "":
            kind = InvalidValue if p.type == "string" else ParameterError
            raise kind(
                f"Unable to execute API command {asked.name.lower()} due to invalid value for parameter {p.name}: "
                "it is empty"
            )
        if p.argument in scope and p.argument not in inspect_names(asked):
            continue
        bound[p.argument] = read = p.read(ctx, value)
        if p.entity is not None and ctx.caller.project_rules:
            check_allowed(ctx, read)
    refused = [n for n in asked.unsupported if sent.get(n) or any(k.startswith(n + "[") for k in sent)]
    if refused:
        raise InvalidValue(
            f"{asked.name} does not support the parameter {', '.join(refused)} in this version: leave it out"
        )
    return {name: value for name, value in bound.items() if value is not None}


_SCOPE = frozenset(
    {"page", "pagesize", "keyword", "listall", "isrecursive", "account", "domainid", "projectid", "tags"}
)
_names: dict[str, frozenset[str]] = {}


def inspect_names(asked: Command) -> frozenset[str]:
    """The Python names of the parameters that a command's body takes."""
    if asked.name not in _names:
        _names[asked.name] = frozenset(list(inspect.signature(asked.run).parameters)[1:])
    return _names[asked.name]
