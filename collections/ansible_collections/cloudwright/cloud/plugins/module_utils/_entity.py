# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One declarative base for all modules: a module only says what its entity looks like.  Private to this collection.

A field of an Entity is an entry of an argument_spec, with these keys more:

api      its name in requests; by default the option without underscores, with ``id`` for a reference
field    its name in answers, by default the same as ``api``
ref      the kind to look the option's value up in: the task gives a name or an id, the API gets the id
within   options whose entities the reference is looked for in (a pod in its zone)
find     True, or the parameter's name or names, when it narrows the list in which the entity is searched
match    True when the entity is the one whose answer shows this value, or shows none where the task gives none
unless   options beside which it only says where they are looked for (the zone beside its cluster)
needed   True when nothing can be created without it, or a callable taking the options that says so
initial  what a creation sends when the task does not say: a value, or a callable taking the options
create   False when the creating command does not take it; it is then set right after
update   False when it cannot change after creation, or its name in the updating command
via      the command that changes it, when it is not the entity's own update command
read     a callable that picks the value out of an answer
encode   a callable that turns the option's value into what requests carry
shown    False when answers never show it: it is sent at creation, and not compared.  Or a callable that turns the value
         into what answers show (a key into its fingerprint)
use      "delete" when only the deleting command takes it, "scope" when it only says where references are looked for,
         "task" when only the module itself needs it
along    commands that take it too, whenever they are sent; for options that are not compared
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, WAIT_SPEC, ApiError, Client
from ansible_collections.cloudwright.cloud.plugins.module_utils._converge import Convergence
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import KINDS, list_entities, lookup

OUR_KEYS = (
    "api", "field", "ref", "within", "find", "match", "unless", "needed", "initial", "create",
    "update", "via", "read", "encode", "shown", "use", "along",
)  # fmt: skip
SECRETS = ("password", "secretkey", "privatekey", "publickey", "userdata")


@dataclass(frozen=True)
class State:
    """What a value of the option ``state`` means.

    gone    the entity shall not exist (or, with ``goal``, be in one of these values of ``field``)
    goal    the values of ``field`` that satisfy the state
    set     parameters of the update command that bring the goal about
    path    value of ``field`` -> commands that bring the goal about, one after the other; ``*`` for any other value.
            A command is its name, or a tuple of the name and its parameters.  Or a callable that takes the
            convergence and the entity and returns such commands
    always  act whatever the state is now (a restart), and what the diff calls that
    exists  it is a state of what exists: nothing is created for it
    first   take the path before anything else is done, not after
    moot    there is nothing to do where what the options refer to does not exist
    """

    gone: bool = False
    goal: tuple = ()
    set: dict = field(default_factory=dict)
    create: dict = field(default_factory=dict)
    path: object = field(default_factory=dict)
    always: str = ""
    exists: bool = False
    first: bool = False
    moot: bool = False


def switches(parameter):
    """The states enabled and disabled, set through a parameter of the update command."""
    return {word.lower(): State(goal=(word,), set={parameter: word}) for word in ("Enabled", "Disabled")}


PRESENT_ABSENT = {"present": State(), "absent": State(gone=True)}


def api_name(name, entry):
    """The name of an option in requests."""
    many = entry["type"] == "list"
    suffix = ("ids" if many else "id") if "ref" in entry else ""
    stem = name[:-1] if many and suffix else name
    return entry.get("api", stem.replace("_", "") + suffix)


def options(fields):
    """The entries of an argument_spec in fields."""
    return {name: {key: value for key, value in entry.items() if key not in OUR_KEYS} for name, entry in fields.items()}


class Runnable:
    """What the modules and the action plugin run; ``converge`` knows nothing of AnsibleModule."""

    constraints = {}

    def main(self):
        """Body of a module's main()."""
        module = AnsibleModule(argument_spec=self.argument_spec, supports_check_mode=True, **self.constraints)
        try:
            client = Client(module.params, read_only=module.check_mode)
            module.no_log_values.add(client.secret)
            result = self.converge(client, module.params, module.check_mode)
        except ApiError as exc:
            result = exc.result()
        if result.pop("failed", False):
            module.fail_json(**result)
        module.exit_json(**result)


@dataclass
class Entity(Runnable):
    """One kind of entity and what can be done with it.

    key          the option that has its name; None when options with ``match`` or ``find`` say which it is
    state_field  the field of answers that the states speak of
    ready        fields and values to wait for after creation, where the job's end is not enough
    broken       a callable that returns why an entity will never be ready, or None
    target       options that name the entity in update and delete, where that is not ``id``
    prepare      a callable (convergence, entity) that returns (what, before, after, command, parameters) for each
                 thing to be done before the fields are updated
    reveal       fields of the commands' answers -> names in the result; everywhere else secrets are taken out
    ignore       values of state_field of entities that are as good as gone
    needs        what the options must fulfil together, as AnsibleModule has it
    check        a callable taking the options that raises ApiError for what AnsibleModule cannot check
    derived      parameters of the creating command that follow from options: name -> a callable taking the convergence
    address      for commands that name the entity otherwise than by ``id``: command -> parameter -> field of answers,
                 or a callable taking an answer
    answers      False when its commands answer with something else than the entity, which is then looked for again
    elsewhere    a callable taking the convergence that finds the entity where it is before the task brings it to where
                 the options look for it, or one that is as good, or None
    aside        a callable taking the convergence that names the options which are not compared with what there is,
                 because ``prepare`` or the way to the state sees to them
    sends        the option with a local file that is sent where the creating command tells
    """

    kind: str
    create: object = None
    update: str = None
    delete: object = None
    fields: dict = field(default_factory=dict)
    states: dict = field(default_factory=lambda: dict(PRESENT_ABSENT))
    state_field: str = "state"
    key: str = "name"
    always: dict = field(default_factory=dict)
    ready: dict = field(default_factory=dict)
    broken: object = None
    target: tuple = ()
    prepare: object = None
    reveal: dict = field(default_factory=dict)
    ignore: tuple = ()
    needs: dict = field(default_factory=dict)
    check: object = None
    derived: dict = field(default_factory=dict)
    address: dict = field(default_factory=dict)
    answers: bool = True
    elsewhere: object = None
    aside: object = None
    sends: str = None

    @property
    def argument_spec(self):
        """The options of the module."""
        state = {"type": "str", "choices": list(self.states), "default": next(iter(self.states))}
        ident = {} if self.target or not self.key else {"id": {"type": "str"}}
        return {**API_SPEC, **WAIT_SPEC, **ident, **options(self.fields), "state": state}

    @property
    def constraints(self):
        """What the options must fulfil together."""
        if self.target or not self.key:
            return self.needs
        return {**self.needs, "required_one_of": [(self.key, "id"), *self.needs.get("required_one_of", ())]}

    def converge(self, client, params, check_mode=False):
        """Make the entity what the task says; returns the task's result."""
        return Convergence(self, client, params, check_mode).run()

    def api(self, name):
        """The name of an option in requests."""
        return api_name(name, self.fields[name])

    def narrowing(self, name):
        """The parameters by which an option narrows the list in which the entity is searched."""
        find = self.fields[name].get("find")
        if not find:
            return ()
        return (self.api(name),) if find is True else (find,) if isinstance(find, str) else find

    def have(self, name, entity):
        """What an answer shows for an option."""
        entry = self.fields[name]
        if "read" in entry:
            return entry["read"](entity)
        return entity.get(entry.get("field", self.api(name)))

    def public(self, entity):
        """An answer without what nobody should see."""
        hidden = {self.api(name) for name, entry in self.fields.items() if entry.get("no_log")}.union(SECRETS)
        return {name: value for name, value in entity.items() if name not in hidden}


@dataclass
class EntityInfo(Runnable):
    """List one kind of entity.

    filters  fields as of an Entity: ``api``, ``ref``, ``within``, ``unless``, ``encode`` and ``use``, which may be
             "limit" for the number of entities that are enough
    by       what a single one can be asked for by: name, id, both or none
    """

    kind: str
    filters: dict = field(default_factory=dict)
    always: dict = field(default_factory=dict)
    by: tuple = ("name", "id")

    @property
    def argument_spec(self):
        """The options of the module."""
        return {**API_SPEC, **WAIT_SPEC, **{name: {"type": "str"} for name in self.by}, **options(self.filters)}

    def converge(self, client, params, check_mode=False):
        """List; the server filters, and an exact name is checked here."""
        query, resolved, most = dict(self.always), {}, None
        for name, entry in self.filters.items():
            value = self.resolve(client, params, name, resolved)
            if value is None:
                continue
            if entry.get("use") == "limit":
                most = value
            elif "use" not in entry and not any(params.get(other) for other in entry.get("unless", ())):
                query[api_name(name, entry)] = value
        known = KINDS[self.kind]
        name = params.get("name")
        if name and known.query:
            query[known.query] = name
        ident = params.get("id")
        if ident and known.ident:
            query["id"] = ident
        found = list_entities(client, self.kind, most, **query)
        if ident:
            found = [entity for entity in found if entity.get("id") == ident]
        if name:
            found = [entity for entity in found if name in [entity.get(field_) for field_ in known.names]]
        shown = [{key: value for key, value in entity.items() if key not in SECRETS} for entity in found]
        return {"changed": False, "entities": shown}

    def resolve(self, client, params, name, resolved):
        """The value of a filter as the API knows it; ``resolved`` holds those that are known, in whatever order."""
        if name not in resolved:
            entry, value = self.filters[name], params.get(name)
            if value is not None and "ref" in entry:
                others = [other for other in entry.get("within", ()) if other in self.filters]
                within = {other: self.resolve(client, params, other, resolved) for other in others}
                scope = {api_name(o, self.filters[o]): ident for o, ident in within.items() if ident is not None}
                value = lookup(client, entry["ref"], value, **scope)["id"]
            elif value is not None and "encode" in entry:
                value = entry["encode"](value)
            resolved[name] = value
        return resolved[name]


@dataclass
class Choice(Runnable):
    """Entities or lists of them behind one module; the value of ``option`` says which is meant."""

    option: str
    entities: dict

    @property
    def argument_spec(self):
        """The options of all of them."""
        merged = {}
        for entity in self.entities.values():
            merged.update(entity.argument_spec)
        return {**merged, self.option: {"type": "str", "choices": list(self.entities), "required": True}}

    @property
    def constraints(self):
        """What the options must fulfil together, which is the same for each."""
        return next(iter(self.entities.values())).constraints

    def converge(self, client, params, check_mode=False):
        """Do what the one that is meant does."""
        return self.entities[params[self.option]].converge(client, params, check_mode)
