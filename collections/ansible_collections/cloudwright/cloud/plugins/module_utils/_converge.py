# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one entity becomes what a task says.  Private to this collection."""

from __future__ import annotations

import time
from collections import namedtuple

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError, NotFound, pauses
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN, same
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import (
    by_id,
    by_name,
    list_entities,
    lookup,
    the_one,
)

Step = namedtuple("Step", "command params")
TRANSIENT = {
    "Starting",
    "Stopping",
    "Migrating",
    "Expunging",
    "PrepareForMaintenance",
    "CancelMaintenance",
    "Connecting",
}


class Convergence:
    """One task at work: finds, compares, plans the commands, sends them unless in check mode, and waits."""

    def __init__(self, entity, client, params, check_mode):
        self.entity = entity
        self.client = client
        self.params = params
        self.check_mode = check_mode
        self.rule = entity.states[params["state"]]
        self.aim = {entity.state_field: self.rule.goal[0]} if self.rule.goal else {}
        self.resolved = {}
        self.referred = {}  # option -> the entity that it names
        self.before = {}
        self.after = {}
        self.created = False
        self.moved = False  # it was found where it is before the task brings it to where the options look for it
        self.revealed = {}
        self.predicted = {}
        self.job_id = None
        self.started = time.monotonic()

    def run(self):
        """The whole task; returns its result."""
        if self.entity.check:
            self.entity.check(self.params)
        try:
            current = self.find()
        except NotFound:
            if self.rule.moot:
                return self.result(False, None)
            if not self.rule.gone:
                raise
            current = None  # what it would be in does not exist either
        if self.rule.gone:
            return self.remove(current)
        if current is None and self.rule.exists:
            raise NotFound(f"no {self.entity.kind} named {self.params[self.entity.key]!r}: it has to be there first")
        if current is None:
            return self.create()
        return self.change(current)

    # -- what the task says -------------------------------------------------------------------------------------

    def wanted(self, name):
        """The value of an option as the API knows it, references resolved; None when the task does not say."""
        if name not in self.resolved:
            self.resolved[name] = self.resolve(name)
        return self.resolved[name]

    def resolve(self, name):
        entry, value = self.entity.fields[name], self.params.get(name)
        if value is None:
            return None
        if "ref" not in entry:
            return entry["encode"](value) if "encode" in entry else value
        scope, where = {}, ""
        for option in entry.get("within", ()):
            if self.wanted(option) is not None:
                scope[self.entity.api(option)] = self.wanted(option)
                where += f" in {option} {self.params[option]!r}"
        if isinstance(value, list):
            return [lookup(self.client, entry["ref"], item, where, **scope)["id"] for item in value]
        self.referred[name] = lookup(self.client, entry["ref"], value, where, **scope)
        return self.referred[name]["id"]

    def only_scope(self, name):
        """Whether an option does no more than say where another one is looked for."""
        return any(self.params.get(other) for other in self.entity.fields[name].get("unless", ()))

    def scope(self):
        """The filters of the list in which the entity is searched."""
        found = {**self.entity.always}
        for name in self.entity.fields:
            parameters = self.entity.narrowing(name)
            if parameters and self.wanted(name) is not None and not self.only_scope(name):
                found.update(dict.fromkeys(parameters, self.wanted(name)))
        return found

    def find(self):
        """The entity as the server has it, or None."""
        entity = self.entity
        scope = self.scope()
        if self.params.get("id"):
            current = by_id(self.client, entity.kind, self.params["id"], **scope)
            if current is None and not self.rule.gone:
                raise NotFound(f"no {entity.kind} with id {self.params['id']!r}; to create one, leave id out")
        elif entity.key:
            current = by_name(self.client, entity.kind, self.params[entity.key], **scope)
        else:
            found = [one for one in list_entities(self.client, entity.kind, **scope) if self.matches(one)]
            current = the_one(entity.kind, found, "what the task names")
        if current is None and entity.elsewhere:
            current = entity.elsewhere(self)
            self.moved = current is not None
        return None if current and current.get(entity.state_field) in entity.ignore else current

    def matches(self, entity):
        """Whether an answer shows what the options with ``match`` ask for."""
        for name in [n for n, entry in self.entity.fields.items() if entry.get("match")]:
            value, have = self.wanted(name), self.entity.have(name, entity)
            if not (same(value, have) if value is not None else have in (None, "")):
                return False
        return True

    # -- creating ------------------------------------------------------------------------------------------------

    def create(self):
        """Create, then set what the creating command does not take."""
        entity = self.entity
        if entity.create is None:
            raise NotFound(f"no {entity.kind} named {self.params.get(entity.key)!r}, and none can be created")
        missing = [n for n, e in entity.fields.items() if self.needs(e) and self.params.get(n) is None]
        if missing:
            raise ApiError(f"a new {entity.kind} needs {', '.join(missing)}")
        body = {}
        for name, entry in entity.fields.items():
            if entry.get("create") is False or "use" in entry:
                continue
            value = self.wanted(name)
            if value is None and "initial" in entry:
                value = entry["initial"](self.params) if callable(entry["initial"]) else entry["initial"]
            if value is not None:
                body[entity.api(name)] = value
                if not entry.get("no_log"):
                    self.after[name] = value
        derived = {name: value(self) for name, value in entity.derived.items()}
        body.update({name: value for name, value in derived.items() if value is not None})
        body.update(self.rule.create)
        self.after.update(self.aim)
        later = [n for n, e in entity.fields.items() if e.get("create") is False and not e.get("no_log")]
        self.after.update({n: self.wanted(n) for n in later if self.wanted(n) is not None})
        if self.check_mode:
            return self.result(True, {**body, **self.aim})
        more = [n for n, e in entity.fields.items() if e.get("create") is False and self.params.get(n) is not None]
        command = entity.create(self.params) if callable(entity.create) else entity.create
        last = not more and not self.rule.set
        created = self.send(Step(command, body), last)
        if entity.sends and self.params[entity.sends]:
            created = self.sent(created)
        if created is None and (self.params["wait"] or not last or not self.job_id):
            created = self.find()  # the command answers with success only
        if created is None:  # the job was not waited for
            return self.result(True, body)
        self.created = True
        # first what makes it recognisable, its name for one: should waiting fail, the next run finds it
        created = self.carry_out(created, self.steps(created, self.updates(created, more)))
        created = self.settle(created)
        created = self.carry_out(created, self.with_state(created, {}))
        self.before = {}
        return self.result(True, self.settle(created, fresh=True))

    def sent(self, ticket):
        """Send the local file that a new entity is made of; what was begun for it goes again when that fails."""
        try:
            self.client.upload(ticket, self.params[self.entity.sends], self.params["wait_timeout"])
        except ApiError:
            self.client.run(self.entity.delete, {"id": ticket["id"]})
            raise
        return self.again(ticket)

    def needs(self, entry):
        """Whether nothing can be created without this field."""
        needed = entry.get("needed", False)
        return needed(self.params) if callable(needed) else needed

    # -- changing ------------------------------------------------------------------------------------------------

    def change(self, current):
        """Send the difference only."""
        if self.rule.goal and current.get(self.entity.state_field) in TRANSIENT and not self.check_mode:
            current = self.until(current, lambda e: e.get(self.entity.state_field) not in TRANSIENT)
        steps = self.with_state(current, self.updates(current, self.entity.fields))
        if self.check_mode:
            return self.result(bool(steps), {**current, **self.predicted})
        current = self.settle(self.carry_out(current, steps), fresh=bool(steps))
        return self.result(bool(steps), current)

    def updates(self, current, names):
        """{command: parameters} for the options in ``names`` that differ; fills ``before`` and ``after``."""
        entity, updates, fixed = self.entity, {}, []
        aside = entity.aside(self) if entity.aside else ()
        for name in names:
            entry, value = entity.fields[name], self.wanted(name)
            if value is None or entry.get("shown") is False or "use" in entry or name in aside:
                continue
            have = entity.have(name, current)
            if same(entry["shown"](value) if "shown" in entry else value, have):
                continue
            if entry.get("update") is False or not (entry.get("via") or entity.update):
                fixed.append(f"{name} (is {have!r}, asked for {value!r})" if not entry.get("no_log") else name)
                continue
            api = entry["update"] if isinstance(entry.get("update"), str) else entity.api(name)
            updates.setdefault(entry.get("via") or entity.update, {})[api] = value
            self.note(name, None if have is UNKNOWN else have, value, entry.get("no_log"))
            self.predicted[entry.get("field", entity.api(name))] = value
        if fixed:
            named = current.get("name", self.params.get(entity.key))
            which = entity.kind if named is None else f"{entity.kind} {named!r}"
            raise ApiError(
                f"{which}: cannot change after creation: "
                f"{', '.join(fixed)}; delete it and create it again, or take the option out of the task"
            )
        return updates

    def with_state(self, current, updates):
        """The steps of the updates, with what the state needs."""
        entity, rule = self.entity, self.rule
        now, path = current.get(entity.state_field), []
        prepared = []
        for what, before, after, command, params in entity.prepare(self, current) if entity.prepare else ():
            self.note(what, before, after)
            prepared.append(Step(command, params))
        if (rule.always and not self.created) or (rule.goal and now not in rule.goal):
            if rule.set:
                updates.setdefault(entity.update, {}).update(rule.set)
            path = self.path(current, rule)
            self.note(entity.state_field, now, rule.always or rule.goal[0])
            self.predicted.update(self.aim)
        own = prepared + self.steps(current, updates)
        return path + own if rule.first else own + path

    def steps(self, current, updates):
        """The steps of {command: parameters}."""
        return [Step(command, {**self.target(current, command), **params}) for command, params in updates.items()]

    def path(self, current, rule):
        """The commands of a state, for where the entity is now."""
        if not rule.path:
            return []
        now = current.get(self.entity.state_field)
        commands = rule.path(self, current) if callable(rule.path) else rule.path.get(now, rule.path.get("*"))
        if commands is None:
            raise ApiError(
                f"{self.entity.kind} {current.get('name')!r} is {now}: no way to {self.params['state']} from there"
            )
        steps = []
        for command in commands:
            name, more = (command, {}) if isinstance(command, str) else command
            steps.append(Step(name, {**self.target(current, name), **more}))
        return steps

    def note(self, name, before, after, secret=False):
        """Record a difference for the diff."""
        if not secret:
            self.before[name], self.after[name] = before, after

    def target(self, current, command=None):
        """The parameters that name the entity in a command."""
        entity = self.entity
        if command in entity.address:
            fields = entity.address[command].items()
            return {name: field(current) if callable(field) else current.get(field) for name, field in fields}
        if not entity.target:
            return {"id": current["id"]}
        named = [n for n in entity.target if self.wanted(n) is not None and not self.only_scope(n)]
        return {entity.api(n): self.wanted(n) for n in named}

    # -- removing ------------------------------------------------------------------------------------------------

    def remove(self, current):
        """Bring the entity to its end."""
        entity = self.entity
        if current is None or current.get(entity.state_field) in self.rule.goal:
            return self.result(False, current)
        more = {entity.api(n): self.wanted(n) for n, e in entity.fields.items() if e.get("use") == "delete"}
        delete = entity.delete(self.params) if callable(entity.delete) else entity.delete
        steps = self.path(current, self.rule) or [Step(delete, self.target(current, delete))]
        if more.get("forced") and delete:
            steps = [Step(delete, self.target(current, delete))]  # force needs no detour
        steps[-1] = Step(steps[-1].command, {**steps[-1].params, **{k: v for k, v in more.items() if v is not None}})
        shown = [n for n, e in entity.fields.items() if not e.get("no_log") and e.get("shown") is not False]
        have = {name: entity.have(name, current) for name in shown}
        self.before = {name: value for name, value in have.items() if value is not None and value is not UNKNOWN}
        if self.rule.goal:
            self.note(entity.state_field, current.get(entity.state_field), self.rule.goal[0])
        if not self.check_mode:
            for step in steps:
                answer = self.send(step, last=step is steps[-1])
                current = answer if answer and "id" in answer else current
                if step is not steps[-1]:
                    current = self.until(current, lambda e: e.get(entity.state_field) not in TRANSIENT)
        return self.result(True, current if self.rule.goal else None)

    # -- doing ---------------------------------------------------------------------------------------------------

    def carry_out(self, current, steps):
        """Send the steps; returns the entity as it is then.  One that gives it another id holds for those behind it."""
        stale, renewed = False, {}
        for step in steps:
            params = {n: renewed.get(v, v) if isinstance(v, str) else v for n, v in step.params.items()}
            answer = self.send(Step(step.command, params), last=step is steps[-1])
            if answer and "customid" in params and params["customid"] == answer.get("id"):
                renewed[current["id"]], current = answer["id"], answer
            stale = not answer or answer.get("id") != current.get("id")
            current = current if stale else answer
        if stale and self.params["wait"]:
            current = self.again(current)
        return current

    def again(self, current):
        """The entity as the server has it now."""
        if not current.get("id") or not self.entity.answers:
            return self.find() or current
        return by_id(self.client, self.entity.kind, current["id"], **self.entity.always) or current

    def send(self, step, last=True):
        """One command; jobs before the last are always waited for, because what follows builds on them."""
        wait = self.params["wait"] or not last
        entity = self.entity
        along = {entity.api(n): self.wanted(n) for n, e in entity.fields.items() if step.command in e.get("along", ())}
        answer, job_id = self.client.run(step.command, {**along, **step.params}, wait, self.params["wait_timeout"])
        self.job_id = job_id or self.job_id
        self.revealed.update(
            {ours: answer[field] for field, ours in entity.reveal.items() if answer and field in answer}
        )
        return answer if entity.answers else None

    def settle(self, current, fresh=False):
        """Wait until the entity is ready, and in the state asked for where a path leads there."""
        ready = dict(self.entity.ready)
        if fresh and self.rule.path and self.rule.goal:
            ready[self.entity.state_field] = None
        if not ready or not self.params["wait"]:
            return current

        def there(entity):
            reason = self.entity.broken(entity) if self.entity.broken else None
            if reason:
                raise ApiError(f"{self.entity.kind} {entity.get('name')!r}: {reason}")
            return all(
                entity.get(name) in self.rule.goal if value is None else entity.get(name) == value
                for name, value in ready.items()
            )

        return self.until(current, there)

    def until(self, current, there):
        """Poll the entity until ``there`` says yes or wait_timeout is over; returns it as it is then."""
        for pause in pauses(self.params["wait_timeout"]):
            if there(current):
                return current
            time.sleep(pause)
            current = self.again(current)
        shown = [current.get(name) for name in (self.entity.state_field, "state", "status")]
        states = ", ".join(dict.fromkeys(str(state) for state in shown if state))
        raise ApiError(
            f"{self.entity.kind} {current.get('name')!r} is still not as asked for after "
            f"wait_timeout={self.params['wait_timeout']} s; the server says: {states or 'nothing'}"
        )

    def result(self, changed, current):
        """The result of the task."""
        result = {"changed": changed, "entity": self.entity.public(current) if current else None, **self.revealed}
        if changed:
            result["diff"] = {"before": self.before, "after": self.after}
        if self.job_id:
            result["job_id"] = self.job_id
            result["duration"] = round(time.monotonic() - self.started, 3)
        return result
