"""`cloudwright agent run`: from the configuration to a linked agent, until the process is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from mgmt_server.agent import certificate, notify, version
from mgmt_server.agent.client import Client
from mgmt_server.agent.commands import Host
from mgmt_server.agent.config import Config, load
from mgmt_server.agent.journal import Journal
from mgmt_server.agent.network import ensure_control_bridge
from mgmt_server.agent.watch import Watch
from mgmt_server.agent.work import Work
from mgmt_server.errors import Failed, Unavailable

log = logging.getLogger(__name__)

LIBVIRT_PATIENCE = 5.0  # seconds between tries to reach libvirt


def run(config_path: str) -> None:
    """Raises ConfigError. Ends on SIGTERM or SIGINT; guests go on running."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    config = load(config_path)
    config.state.mkdir(parents=True, exist_ok=True)
    config.state.chmod(0o711)  # QEMU passes through to the mounts below it
    asyncio.run(_run(config))


async def _run(config: Config) -> None:
    notify.status("Looking at this host")
    host = await asyncio.to_thread(Host, config)
    journal = Journal(config.state / "journal.db")
    work = Work(host.commands() | certificate.commands(config, lambda: client.relink()), journal)
    client = Client(config, journal, work, host.facts, host.boot_id)
    watch = Watch(host, client.report)
    client.on_link = watch.forget_told
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, client.stop)
    await asyncio.to_thread(_prepare)
    await _libvirt_is_there(host)
    watch.start()
    log.info("agent %s of %s (%s), guests by %s", version(), config.name, config.uuid, host.accelerator)
    try:
        await client.run()
    finally:
        watch.stop()
        host.heartbeats.stop()
        work.stop()
        journal.close()


def _prepare() -> None:
    try:
        ensure_control_bridge()
    except Failed as error:
        log.warning("no control bridge for system VMs yet: %s", error)


async def _libvirt_is_there(host: Host) -> None:
    while True:
        try:
            await asyncio.to_thread(host.virt.node)
            return
        except (Failed, Unavailable) as error:
            log.warning("%s", error)
            notify.status(f"Waiting for libvirt: {error}")
            await asyncio.sleep(LIBVIRT_PATIENCE)
