"""The page that asks for the encryption key, so that it is on no disk."""

from __future__ import annotations

import threading
import time

import requests

from mgmt_server.web.unlock import ask_for_key
from tests.mariadb import free_port


def test_the_page_is_there_until_somebody_sends_the_key(capfd):
    port, found = free_port(), []
    thread = threading.Thread(target=lambda: found.append(ask_for_key("127.0.0.1", port)), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            assert "locked" in requests.get(url, timeout=20).text
            break
        except requests.ConnectionError:
            time.sleep(0.05)
    assert requests.post(url, data={"key": ""}, timeout=20).status_code == 400
    assert requests.post(url, data={"key": "c2VjcmV0"}, timeout=20).status_code == 200
    thread.join(20)
    assert found == ["c2VjcmV0"]
    assert "c2VjcmV0" not in capfd.readouterr().err, "what is sent is secret"
