"""Commands and questions over a real link: once, in order, across cuts and restarts."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from conftest import FakeHost, eventually

from mgmt_server import db
from mgmt_server.agents import ca, directory, mailbox
from mgmt_server.agents.server import Link
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.agent import AgentCommand
from mgmt_server.protocol.codec import build
from mgmt_server.protocol.link import LIMIT, Hello


def test_question(link: Link, host: FakeHost) -> None:
    assert link.ask(host.uuid, "echo", {"a": [1, "ä"]}) == {"a": [1, "ä"]}
    (who,) = link.connected()
    assert (who.name, who.address, who.kind) == ("kvm1", "127.0.0.1", "host")
    assert who.facts is not None and who.facts.cpus == 4
    with db.reading() as session:
        assert session.query(AgentCommand).count() == 0  # questions are not stored


def test_a_repeated_call_is_done_once(link: Link, host: FakeHost) -> None:
    call = uuid4()
    first = link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call)
    again = link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call)
    assert first == again == 1
    assert host.done == [1]


def test_the_agent_recognises_a_repeat_even_if_the_server_forgot(link: Link, host: FakeHost) -> None:
    call = uuid4()
    assert link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call) == 1
    mailbox.forget(str(call))
    host.stop()
    host.start()
    assert link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call, timeout=10) == 1
    assert host.done == [1]


def test_what_a_crash_of_the_agent_cut_short_is_done_when_asked_again(link: Link, host: FakeHost) -> None:
    call = uuid4()
    host.journal.begin(str(call), "do")  # begun, and the power went
    host.stop()
    host.start()
    assert link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call, timeout=10) == 1
    assert host.done == [1] and host.journal.unfinished() == ()


def test_the_callers_id_stands_in_the_agents_log(link: Link, host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mgmt_server.agent"):
        link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=uuid4(), correlation="a-call-of-the-api")
    assert any(r.getMessage().startswith("do ") and "[a-call-of-the-api]" in r.getMessage() for r in caplog.records)


def test_one_id_for_two_effects_is_refused(link: Link, host: FakeHost) -> None:
    call = uuid4()
    link.ask(host.uuid, "do", {"name": "vm", "value": 1}, call=call)
    with pytest.raises(Failed, match="was used for do before"):
        link.ask(host.uuid, "other", {}, call=call)


def test_failure_in_the_agents_words(link: Link, host: FakeHost) -> None:
    link_error = Failed("no such bridge: cloudbr7")
    host.work.commands["fail"] = type(host.work.commands["do"])(_raise(link_error), lambda b: "x", changes=True)
    with pytest.raises(Failed, match="no such bridge: cloudbr7"):
        link.ask(host.uuid, "fail", {}, call=uuid4())
    with pytest.raises(Failed, match="does not know 'nonsense'"):
        link.ask(host.uuid, "nonsense", {})


def _raise(error: Exception):
    def run(body: object) -> None:
        raise error

    return run


def test_unavailable_is_not_remembered(link: Link, host: FakeHost) -> None:
    answers = iter([Unavailable("libvirt does not answer"), None])

    def run(body: object) -> str:
        if error := next(answers):
            raise error
        return "now it does"

    host.work.commands["flaky"] = type(host.work.commands["do"])(run, lambda b: "x", changes=True)
    call = uuid4()
    with pytest.raises(Unavailable, match="libvirt does not answer"):
        link.ask(host.uuid, "flaky", {}, call=call)
    assert link.ask(host.uuid, "flaky", {}, call=call) == "now it does"


def test_what_was_put_there_for_a_connection_is_not_sent_over_it_once_more(link: Link, host: FakeHost) -> None:
    call = str(uuid4())
    mailbox.put(call, host.uuid, "do", {}, "", epoch=7)
    assert mailbox.open_commands([host.uuid]) == mailbox.open_commands([host.uuid], before=7) == []
    (lost,) = mailbox.open_commands([host.uuid], before=8)
    assert lost.request.id == call


def test_cut_in_the_middle_the_answer_comes_after_the_reconnect(link: Link, host: FakeHost) -> None:
    host.gate.clear()
    call, got = uuid4(), []
    body = {"name": "vm", "value": "slow"}
    asker = threading.Thread(target=lambda: got.append(link.ask(host.uuid, "do", body, call=call, timeout=15)))
    asker.start()
    eventually(lambda: host.done == ["slow"])
    before = link.connected()[0].epoch
    host.client._loop.call_soon_threadsafe(host.client._connection.transport.abort)
    eventually(lambda: [c for c in link.connected() if c.epoch > before])
    host.gate.set()
    asker.join(15)
    assert got == [1]
    assert host.done == ["slow"]  # the server sent it again, and the agent knew it


def test_asked_while_away_done_on_return(link: Link, host: FakeHost) -> None:
    host.stop()
    eventually(lambda: not link.connected())
    call, got = uuid4(), []
    body = {"name": "vm", "value": "late"}
    asker = threading.Thread(target=lambda: got.append(link.ask(host.uuid, "do", body, call=call, timeout=15)))
    asker.start()
    eventually(lambda: mailbox.waiting_agents() == {host.uuid})
    host.start()
    asker.join(15)
    assert got == [1]


def test_what_nobody_waits_for_is_not_done_later(link: Link, host: FakeHost) -> None:
    host.stop()
    eventually(lambda: not link.connected())
    with pytest.raises(Unavailable, match="kvm1 is not connected.*systemctl status cloudwright-agent"):
        link.ask(host.uuid, "do", {"name": "vm", "value": "ghost"}, call=uuid4(), timeout=0.3)
    host.start()
    eventually(lambda: link.connected())
    assert link.ask(host.uuid, "do", {"name": "vm", "value": "next"}, call=uuid4(), timeout=10) == 1
    assert host.done == ["next"]


def test_order_on_one_machine_and_none_between_machines(link: Link, host: FakeHost) -> None:
    host.gate.clear()
    asks = [("a", 1), ("a", 2), ("b", 3)]
    threads = []
    for name, value in asks:
        body = {"name": name, "value": value}
        threads.append(threading.Thread(target=link.ask, args=(host.uuid, "do", body), kwargs={"call": uuid4()}))
        threads[-1].start()
        eventually(lambda v=value: v in host.done or v == 2)
    eventually(lambda: 3 in host.done)
    assert host.done == [1, 3]  # b does not wait for a; a's second waits for a's first
    host.gate.set()
    for thread in threads:
        thread.join(30)
    assert host.done == [1, 3, 2]


def test_reports_in_order_and_callbacks(link: Link, enrol) -> None:
    came, went, reports = [], [], []
    link.on_connect.append(lambda who: came.append(who.uuid))
    link.on_disconnect.append(lambda who: went.append(who.uuid))
    link.on_report.append(lambda agent, type, body: reports.append((agent, type, body)))
    host = FakeHost(enrol())
    eventually(lambda: came == [host.uuid])
    for n in range(50):
        host.client.report("machines", [{"n": n}])
    eventually(lambda: len(reports) == 50)
    assert reports == [(host.uuid, "machines", [{"n": n}]) for n in range(50)]
    host.stop()
    eventually(lambda: went == [host.uuid])
    eventually(lambda: directory.node_of(host.uuid) == ("kvm1", ""))


def test_a_callback_may_ask_the_agent_it_is_told_of(link: Link, enrol) -> None:
    answers = []
    link.on_connect.append(lambda who: answers.append(link.ask(who.uuid, "echo", "hello", timeout=5)))
    host = FakeHost(enrol())
    eventually(lambda: answers)
    host.stop()
    assert answers == ["hello"]


def test_question_to_nobody(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="is not connected"):
        link.ask(str(uuid4()), "echo", 1, timeout=0.1)


def test_silent_question_times_out(link: Link, host: FakeHost) -> None:
    host.work.commands["hang"] = type(host.work.commands["echo"])(lambda body: host.gate.wait(10))
    host.gate.clear()
    with pytest.raises(Unavailable, match="kvm1 is connected and did not answer 'hang' within 0.3 s"):
        link.ask(host.uuid, "hang", timeout=0.3)


def test_too_large_an_answer_is_an_error_not_a_cut(link: Link, host: FakeHost) -> None:
    with pytest.raises(Failed, match="answer of .* larger than the limit"):
        link.ask(host.uuid, "echo", "x" * (2 << 20))
    with pytest.raises(Failed, match="request of .* larger than the limit"):
        link.ask(host.uuid, "echo", "x" * (65 << 20))
    host.work.commands["big"] = type(host.work.commands["echo"])(lambda body: "x" * (2 << 20))
    with pytest.raises(Failed, match="larger than the limit"):
        link.ask(host.uuid, "big")
    assert link.ask(host.uuid, "echo", 1) == 1
    assert link.counters["opened"] == 1


def test_a_large_order_arrives_whole(link: Link, host: FakeHost) -> None:
    """A router's document, with a MiB of user data of each of some guests. An agent of before takes no such."""
    host.work.commands["size"] = type(host.work.commands["echo"])(len)
    assert link.ask(host.uuid, "size", "x" * (20 << 20)) == 20 << 20
    assert link.counters["opened"] == 1
    assert build(Hello, {"agent": "a", "boot_id": "b", "version": "1"}).takes == LIMIT


def test_a_command_through_another_node(link: Link, host: FakeHost) -> None:
    other = Link(ca.load(), listen=("127.0.0.1", 0), node="n2", ping_interval=1.0)
    other.start()
    try:
        assert other.ask(host.uuid, "do", {"name": "vm", "value": 7}, call=uuid4(), timeout=10) == 1
        assert other.ask(host.uuid, "echo", "hi", timeout=10) == "hi"
        with db.reading() as session:
            assert [row.type for row in session.query(AgentCommand)] == ["do"]  # the relayed question is gone
    finally:
        other.stop()
    assert link.is_connected(host.uuid)


def test_server_restart_finds_its_commands(link: Link, host: FakeHost) -> None:
    call = uuid4()
    mailbox.put(str(call), host.uuid, "do", {"name": "vm", "value": "left"}, "")  # as a server that died then left it
    eventually(lambda: host.done == ["left"])
    eventually(lambda: mailbox.answer_of(str(call)))
    assert link.ask(host.uuid, "do", {"name": "vm", "value": "left"}, call=call) == 1
