"""The subcommand itself: options, what is asked, and the line that tells how a job goes."""

from __future__ import annotations

import argparse
import getpass
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from mgmt_server.errors import InvalidValue
from mgmt_server.shell.output import FORMATS, show

if TYPE_CHECKING:
    from mgmt_server.shell.client import Client

EPILOG = """\
examples:
  cloudwright api listZones
  cloudwright api listVirtualMachines state=Running --columns name,state,hostname
  cloudwright api deployVirtualMachine zoneid=... templateid=... serviceofferingid=... tags.env=prod
  cloudwright api registerSSHKeyPair name=mine publickey=@~/.ssh/id_ed25519.pub
  cloudwright api deployVirtualMachine --help          what the command takes
  cloudwright api                                      all commands
  eval "$(cloudwright api --completion bash)"
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("words", nargs="*", metavar="COMMAND name=value", help="a command and its parameters")
    parser.add_argument("--profile", help="section of the profiles' file (default: CLOUDSTACK_REGION, or the first)")
    parser.add_argument("--output", "-o", choices=FORMATS, default="table")
    parser.add_argument("--columns", default="", help="fields to show, with commas between")
    parser.add_argument("--all", action="store_true", help="all pages of a list, not the first 500 rows alone")
    parser.add_argument("--no-wait", action="store_true", help="print the job's id instead of waiting for its end")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds to wait for a job (default 3600)")
    parser.add_argument("--save", metavar="NAME", help="write a profile; with --endpoint and --key")
    parser.add_argument("--endpoint", help="with --save: https://HOST/client/api")
    parser.add_argument("--key", help="with --save: the API key; the secret key is asked for")
    parser.add_argument("--completion", choices=["bash"], help="print what a shell needs to complete commands")
    parser.add_argument("--complete", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Raises ApiError with what to print."""
    # here, so that an agent or a server that starts does not load a client
    from mgmt_server.shell import profiles
    from mgmt_server.shell.client import Client
    from mgmt_server.shell.words import BASH, Apis, completions, parameters

    if options.completion:
        print(BASH, end="")
        return 0
    if options.save:
        return _save(options)
    profile = profiles.load(options.profile)
    client = Client(profile)
    apis = Apis(profile, lambda: client.call("listApis", {}).get("api", []))
    if options.complete is not None:
        print("\n".join(completions(apis.all(), options.complete)))
        return 0
    if not options.words:
        _overview(apis.all(fresh=True))
        return 0
    command, *words = options.words
    told = apis.of(command)
    if options.wants_help:
        print(help_of(told))
        return 0
    try:
        sent = parameters(words, told)
    except InvalidValue:  # the server may be newer than what was kept of it
        told = apis.all(fresh=True).get(told["name"], told)
        sent = parameters(words, told)
    show(_answer(client, told, sent, options), options.output, [c for c in options.columns.split(",") if c])
    return 0


def _answer(client: Client, told: dict[str, Any], sent: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    name = told["name"]
    if options.all and "page" not in sent:
        return client.pages(name, sent)
    answer = client.call(name, sent)
    job = answer.get("jobid")
    if not job or not told.get("isasync") or options.no_wait:
        return answer
    line = _Line(f"{name} {job}")
    try:
        return client.wait(job, options.timeout, line)
    except KeyboardInterrupt:
        line.end()
        print(f"the job goes on: cloudwright api queryAsyncJobResult jobid={job}", file=sys.stderr)
        raise
    finally:
        line.end()


class _Line:
    """How long a job takes, on one line of a terminal; nothing elsewhere."""

    SIGNS = "|/-\\"

    def __init__(self, what: str) -> None:
        self.what, self.looks, self.live = what, 0, sys.stderr.isatty()

    def __call__(self, elapsed: float) -> None:
        if self.live:
            self.looks += 1
            sign = self.SIGNS[self.looks % len(self.SIGNS)]
            print(f"\r\x1b[K{sign} {self.what}  {elapsed:.0f} s", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live and self.looks:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.looks = 0


def _save(options: argparse.Namespace) -> int:
    from mgmt_server.shell import profiles

    if not options.endpoint or not options.key:
        raise InvalidValue("--save NAME goes with --endpoint URL and --key KEY; the secret key is asked for")
    asked = "secret key: "
    secret = getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not secret:
        raise InvalidValue("without a secret key no call can be signed")
    file = profiles.save(options.save, options.endpoint, options.key, secret)
    print(f"profile {options.save} is in {file}")
    return 0


def _overview(apis: dict[str, dict[str, Any]]) -> None:
    for name in sorted(apis):
        print(f"{name:40} {apis[name]['description']}"[:120])


def help_of(told: dict[str, Any]) -> str:
    """What a command is and takes, required parameters first."""
    lines = [f"{told['name']}{' (waits for a job)' if told.get('isasync') else ''}", f"  {told['description']}", ""]
    for p in sorted(told["params"], key=lambda p: (not p["required"], p["name"])):
        head = f"  {p['name']}{'' if p['required'] else ' (optional)'}, {p['type']}"
        lines.append(head)
        lines.extend(textwrap.wrap(p["description"], 100, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)
