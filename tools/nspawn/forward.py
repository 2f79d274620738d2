"""A TCP port on this machine's loopback that leads to an address inside a network namespace."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import socketserver
import threading

from nspawn.proxy import pump


def serve(port: int, netns: str, target: tuple[str, int]) -> None:
    """Forward 127.0.0.1:port for ever."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # the namespace is that of this thread alone, which ends with the connection
            with open(f"/run/netns/{netns}") as inside:
                ctypes.CDLL(None).setns(inside.fileno(), 0)
            with contextlib.suppress(OSError), socket.create_connection(target, timeout=10) as far:
                far.settimeout(None)
                back = threading.Thread(target=pump, args=(far, self.request), daemon=True)
                back.start()
                pump(self.request, far)
                back.join()

    class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 64

    with Listener(("127.0.0.1", port), Connection) as listener:
        listener.serve_forever()
