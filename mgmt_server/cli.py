"""The command `cloudwright`. Each subcommand imports what it needs, so that an agent does not load a web server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

CONFIG = Path("/etc/cloudwright/cloudwright.toml")
AGENT_CONFIG = Path("/etc/cloudwright/agent.toml")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cloudwright", description="A private cloud: management server, agent, tools")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_serve, _setup, _migrate, _enroll_token, _agent, _systemvm, _template, _doctor, _api):
        add(commands)
    arguments = sys.argv[1:] if arguments is None else arguments
    # `api COMMAND --help` is about the server's command; argparse would take it for its own
    asks = arguments[:1] == ["api"] and _asks_of_a_command(arguments[1:])
    options = parser.parse_args([a for a in arguments if a not in HELP] if asks else arguments)
    options.wants_help = asks
    try:
        result: int | None = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if not _is_told(error):
            raise
        print(f"cloudwright: {error}", file=sys.stderr)
        return 2
    return result or 0


HELP = ("--help", "-h")


def _asks_of_a_command(words: list[str]) -> bool:
    return "--complete" not in words and bool(set(HELP) & set(words)) and bool(words) and words[0] not in HELP


def _is_told(error: Exception) -> bool:
    """Whether the error's text is meant for the person who typed the command."""
    from mgmt_server.config import ConfigurationError
    from mgmt_server.errors import ApiError

    names = {type(error).__name__} | {base.__name__ for base in type(error).__mro__}
    ours = {"BuildError", "EnrollError", "Locked", "SchemaError"}
    return isinstance(error, ConfigurationError | ApiError) or bool(names & ours)


def _say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def _with_config(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int | None]) -> None:
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration file (default {CONFIG})")
    parser.set_defaults(run=run)


def _serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="run the management server")
    parser.add_argument(
        "--simulator", action="store_true", help="a whole cloud of simulated hosts, on SQLite in --data"
    )
    parser.add_argument("--data", type=Path, help="with --simulator: the folder that holds everything")
    parser.add_argument("--listen", default="127.0.0.1:8080", help="with --simulator: address of the API")
    parser.add_argument("--tls-listen", default="", help="with --simulator: address of the API with TLS")
    parser.add_argument("--integration-port", type=int, default=0, help="with --simulator: open a port without keys")
    parser.add_argument("--agents-listen", default="", help="with --simulator: address of the agent link")
    parser.add_argument("--admin-password", help="with --simulator: the administrator's password")
    parser.add_argument("--database", help="with --simulator: a database's URL instead of SQLite")
    _with_config(parser, _run_serve)


def _run_serve(options: argparse.Namespace) -> None:
    from mgmt_server import config as bootstrap
    from mgmt_server import install
    from mgmt_server.serve import serve

    if not options.simulator:
        found = bootstrap.read(options.config)
        serve(found, bootstrap.key_of(found), lambda: _must_be_current(options.config))
        return
    if options.data is None:
        raise bootstrap.ConfigurationError("--simulator needs --data DIR: the folder where the cloud shall live")
    options.data.mkdir(parents=True, exist_ok=True)
    key_file = options.data / "secret.key"
    install.make_key(key_file)
    found = bootstrap.Config(
        database=options.database or f"sqlite:///{options.data.resolve()}/cloud.db",
        data=options.data.resolve(),
        listen=options.listen,
        agents_listen=options.agents_listen,
        advertise=bootstrap.address(options.agents_listen)[0] if options.agents_listen else "",
        integration_port=options.integration_port,
        tls_listen=options.tls_listen,
        key=f"file:{key_file.resolve()}",
        node="simulator",
        simulator=True,
        durable=False,
        source="simulator",
    )
    # for the other commands, such as doctor and drill
    install.write_file(options.data / "cloudwright.toml", bootstrap.written(found), 0o640)

    def prepare() -> None:
        install.prepare()
        made = install.give_password(options.admin_password)
        install.write_credentials(options.data / "credentials.json", found, options.admin_password or made)
        if made:
            print(f"the administrator's password, shown this once: {made}", file=sys.stderr, flush=True)

    serve(found, bootstrap.key_of(found), prepare)


def _must_be_current(path: Path) -> None:
    from mgmt_server.config import ConfigurationError
    from mgmt_server.db.schema import current, head

    if current() != head():
        raise ConfigurationError(
            f"the database's schema is not this version's: run `cloudwright migrate --config {path}`"
        )


def _setup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from mgmt_server import setup

    parser = commands.add_parser("setup", help="write the configuration, prepare the database and the administrator")
    setup.add_options(parser)
    _with_config(parser, lambda options: _say(**setup.run(options)))


def _open(path: Path) -> None:
    from mgmt_server import config as bootstrap
    from mgmt_server import install
    from mgmt_server.logs import set_up

    set_up(None, "WARNING")
    found = bootstrap.read(path)
    install.open_database(found, bootstrap.key_of(found), pool=4)


def _migrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _with_config(commands.add_parser("migrate", help="bring the database's schema to this version"), _run_migrate)


def _run_migrate(options: argparse.Namespace) -> None:
    from mgmt_server import install

    _open(options.config)
    _say(changed=install.prepare())


def _enroll_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("enroll-token", help="make a one-time token for a new agent")
    parser.add_argument("--name", required=True, help="the host's name, fully qualified")
    parser.add_argument("--kind", choices=["host", "systemvm"], default="host")
    _with_config(parser, _run_enroll_token)


def _run_enroll_token(options: argparse.Namespace) -> None:
    from mgmt_server import config as bootstrap
    from mgmt_server.agents import ca, tokens

    _open(options.config)
    found = bootstrap.read(options.config)
    _, port = bootstrap.address(found.agents_listen or "0.0.0.0:8250")  # noqa: S104
    servers = [f"{found.advertise or 'localhost'}:{port}"]
    _say(token=tokens.issue(options.name, options.kind), ca_fingerprint=ca.load().fingerprint, servers=servers)


def _agent(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("agent", help="the agent of a KVM host")
    actions = parser.add_subparsers(dest="action", required=True)
    enroll = actions.add_parser("enroll", help="get a certificate for this host")
    enroll.add_argument("--server", action="append", required=True, dest="servers", metavar="HOST:8250")
    enroll.add_argument("--token", help="the token; better in the environment variable CLOUDWRIGHT_TOKEN")
    enroll.add_argument("--ca-fingerprint", required=True, help="SHA-256 of the cloud's CA, in hex")
    enroll.add_argument("--accelerator", choices=["auto", "kvm", "qemu"], default="auto")
    enroll.add_argument("--force", action="store_true", help="even where a valid certificate is there")
    enroll.add_argument("--config", type=Path, default=AGENT_CONFIG)
    enroll.set_defaults(run=_run_enroll)
    run = actions.add_parser("run", help="run the agent")
    run.add_argument("--config", type=Path, default=AGENT_CONFIG)
    run.set_defaults(run=_run_agent)


def _run_enroll(options: argparse.Namespace) -> None:
    from mgmt_server.agent.enroll import enroll

    token = options.token or os.environ.get("CLOUDWRIGHT_TOKEN", "")
    changed = enroll(options.servers, token, options.ca_fingerprint, options.config, options.accelerator, options.force)
    _say(changed=changed)


def _run_agent(options: argparse.Namespace) -> None:
    from mgmt_server.agent.main import run

    run(options.config)


def _systemvm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("systemvm", help="the system VM image")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build systemvm.qcow2 from Debian's packages (root)")
    build.add_argument("--output", type=Path, required=True)
    build.add_argument("--cache", type=Path, default=Path("/var/cache/cloudwright/systemvm"))
    build.set_defaults(run=_run_build)


def _run_build(options: argparse.Namespace) -> None:
    from mgmt_server.systemvm.build import build

    print(build(options.output, options.cache))


def _template(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("template", help="images on secondary storage")
    actions = parser.add_subparsers(dest="action", required=True)
    install = actions.add_parser("install-system", help="put the system VM image on secondary storage")
    install.add_argument("--file", type=Path, required=True)
    install.add_argument("--store", required=True, help="nfs://HOST/PATH or file:///PATH")
    install.add_argument("--hypervisor", choices=["KVM"], default="KVM")
    install.set_defaults(run=_run_install_system)
    known = actions.add_parser("import", help="make templates known whose files were copied")
    known.add_argument("folder", nargs="?", type=Path, help="a folder in the layout template/tmpl/ACCOUNT/NUMBER/")
    known.add_argument("--store", help="instead of a folder: the URL of a secondary storage that holds them already")
    known.add_argument("--zone", default="", help="import from a folder into this zone alone (default: all)")
    known.add_argument("--account", default="", help="whose they shall be (default: the layout's account numbers)")
    known.add_argument("--domain", default="/", help="the account's domain, as a path (default: /)")
    known.add_argument("--os-type", default="Other Linux (64-bit)", help="the guest operating system")
    known.add_argument("--hypervisor", choices=["KVM", "Simulator"], default="KVM")
    known.add_argument("--no-checksums", action="store_true", help="where the checksums are of packed files")
    known.add_argument("--dry-run", action="store_true", help="only tell what would be imported")
    _with_config(known, _run_import)


def _run_import(options: argparse.Namespace) -> int:
    from mgmt_server.config import ConfigurationError

    if (options.folder is None) == (options.store is None):
        raise ConfigurationError("template import needs either a folder or --store URL")
    _open(options.config)
    from mgmt_server.resources.template import importing, layout

    wish = importing.Wish(
        zone=options.zone,
        account=options.account,
        domain=options.domain,
        os_type=options.os_type,
        hypervisor=options.hypervisor,
        checksums=not options.no_checksums,
        dry_run=options.dry_run,
    )
    found = layout.on_store(options.store) if options.store else layout.in_folder(options.folder)
    report = importing.import_all(found, wish)
    _say(changed=bool(report.imported) and not options.dry_run, **vars(report))
    return 1 if report.failed else 0


def _run_install_system(options: argparse.Namespace) -> None:
    from mgmt_server.drivers.image.system import install_system

    _say(changed=install_system(options.file, options.store, options.hypervisor))


def _api(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from mgmt_server.shell import command

    parser = commands.add_parser("api", help="call a server's API: cloudwright api listZones")
    command.add_options(parser)
    parser.set_defaults(run=command.run)


def _doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="check the installation and say what to do")
    parser.add_argument("--json", action="store_true")
    _with_config(parser, _run_doctor)
    drill = commands.add_parser("drill", help="cut a host's power and measure what becomes of its guests")
    drill.add_argument("kind", choices=["ha"])
    drill.add_argument("--host", required=True, help="its name, which is asked for again before anything happens")
    _with_config(drill, _run_doctor)


def _run_doctor(options: argparse.Namespace) -> int:
    if options.command == "drill":
        from mgmt_server.doctor.drill import from_terminal

        return from_terminal(options.config, options.host)
    from mgmt_server.doctor import report

    return report(options.config, options.json)


if __name__ == "__main__":
    sys.exit(main())
