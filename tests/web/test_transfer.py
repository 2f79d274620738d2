"""Images fetched by link and sent by form, over the server's own door."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.account import Account
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink, UploadTicket
from mgmt_server.resources.transfer import links, tickets, timers

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def store(site, tmp_path):
    """A store of a folder with one file, and who has it."""
    place = tmp_path / "store"
    (place / "volumes").mkdir(parents=True)
    (place / "volumes" / "a.raw").write_bytes(CONTENT)
    row = ImageStore(name="s", url=f"file://{place}", protocol="file", details={})

    def add(tx):
        tx.add(row)
        tx.flush()
        return row.id, tx.scalar(select(Account.id).where(Account.name == "admin"))

    number, account = write(add)
    owner = SimpleNamespace(account_id=account, domain_id=1)
    return SimpleNamespace(id=number, owner=owner, folder=place, url=f"file://{place}")


def link(store, **more):
    named = ("Volume", "uuid-1", "my disk.raw", store.id, "volumes/a.raw")
    return write(lambda tx: links.make_link(tx, store.owner, *named, **more)).url.removeprefix(links.base())


def test_a_link_gives_its_file_whole_and_in_parts(site, store):
    path = link(store)
    whole = site.client.get(path)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-disposition"] == 'attachment; filename="my-disk.raw"'
    for asked, first, end in (("bytes=10-19", 10, 20), ("bytes=2000-", 2000, 2048), ("bytes=-8", 2040, 2048)):
        part = site.client.get(path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, CONTENT[first:end])
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/2048"
    outside = site.client.get(path, headers={"Range": "bytes=2048-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */2048")
    head = site.client.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "2048")


def test_a_link_is_a_secret_that_the_database_does_not_hold(site, store):
    path = link(store)
    token = path.split("/")[2]
    with reading() as session:
        row = session.scalar(select(ExtractLink))
        assert all(token not in str(getattr(row, c.key)) for c in ExtractLink.__table__.columns)
    for wrong in (f"/userdata/{'x' * 43}/my-disk.raw", f"/userdata/{row.token_hash}/a", "/userdata/", "/userdata"):
        assert site.client.get(wrong).status_code == 404


def test_a_link_ends_with_its_time_and_its_file_goes_when_it_was_made_for_it(site, store):
    path = link(store, temporary=True)
    assert site.client.get(path).status_code == 200
    write(lambda tx: tx.execute(update(ExtractLink).values(expires=now() - timedelta(seconds=1))))
    assert site.client.get(path).status_code == 404
    timers.clean_up()
    assert not (store.folder / "volumes" / "a.raw").exists()
    with reading() as session:
        assert session.scalar(select(ExtractLink)).removed is not None


def test_a_file_that_another_link_needs_stays(site, store):
    first, second = link(store, temporary=True), link(store, temporary=True)
    write(lambda tx: tx.execute(update(ExtractLink).where(ExtractLink.id == 1).values(expires=now())))
    timers.clean_up()
    assert [site.client.get(p).status_code for p in (first, second)] == [404, 200]


def test_a_disabled_account_fetches_nothing(site, store):
    path = link(store)
    write(lambda tx: tx.execute(update(Account).where(Account.id == store.owner.account_id).values(state="locked")))
    assert site.client.get(path).status_code == 404


def test_a_simulated_image_tells_its_content(site):
    def add(tx):
        row = ImageStore(name="s", url="nfs://192.0.2.9/s", protocol="nfs", details={})
        tx.add(row)
        tx.flush()
        simulator.put(tx, row.url, "volumes/x", 5)
        whose = SimpleNamespace(account_id=tx.scalar(select(Account.id).where(Account.name == "admin")), domain_id=1)
        return links.make_link(tx, whose, "Volume", "u", "x", row.id, "volumes/x").url

    path = write(add).removeprefix(links.base())
    assert site.client.get(path).text.startswith("simulated image ")
    assert site.client.get(path, headers={"Range": "bytes=0-8"}).text == "simulated"


class Told:
    """A receiver that remembers what it was told."""

    def __init__(self, expected):
        self.waits, self.came, self.gone, self.cut = expected, [], [], []

    def expected(self, tx, subject):
        return self.waits

    def progress(self, tx, subject, percent):
        pass

    def arrived(self, tx, subject, brought):
        self.came.append(brought)
        return True

    def cut_off(self, tx, subject):
        self.cut.append(subject)

    def abandoned(self, tx, subject):
        self.gone.append(subject)


@pytest.fixture
def form(site, store, monkeypatch):
    told = Told(tickets.Expected("RAW", "", store.url, "volumes/new.raw", 4096))
    monkeypatch.setitem(tickets.receivers, "Volume", told)
    ticket = write(lambda tx: tickets.make_ticket(tx, store.owner, "Volume", "uuid-2"))
    path = ticket.url.removeprefix(links.base())

    def send(content=CONTENT, **headers):
        sent = {"x-signature": ticket.signature, "x-expires": ticket.expires, "x-metadata": ticket.metadata, **headers}
        return site.client.post(path, files={"files[]": ("d.raw", content)}, data={"note": "x"}, headers=sent)

    return SimpleNamespace(send=send, told=told, path=path, ticket=ticket)


def test_a_form_sends_an_image_once(store, form):
    assert form.send(**{"x-signature": "wrong"}).status_code == 403
    assert form.send().json() == {"success": True}
    assert (store.folder / "volumes" / "new.raw").read_bytes() == CONTENT
    assert [(b.size, b.error) for b in form.told.came] == [(2048, "")]
    assert form.send().status_code == 422 and len(form.told.came) == 1


def test_an_image_that_is_too_large_is_cut_off_and_may_be_sent_anew(store, form):
    assert form.send(b"x" * 5000).status_code == 413
    assert form.told.cut == ["uuid-2"] and not form.told.came
    assert form.send(CONTENT).status_code == 200


MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    "body, kind",
    [(b"", MULTIPART), (b"--x\r\n", MULTIPART), (b"abc", "application/octet-stream"), (b"--y\r\n\r\n", MULTIPART)],
)
def test_what_is_no_form_is_refused(site, form, body, kind):
    answer = site.client.post(
        form.path, content=body, headers={"x-signature": form.ticket.signature, "content-type": kind}
    )
    assert answer.status_code == 422 and answer.json()["errortext"]


def test_an_image_of_another_format_is_told_and_not_kept(store, form):
    form.told.waits = tickets.Expected("QCOW2", "", store.url, "volumes/new.raw", 4096)
    answer = form.send()
    assert answer.status_code == 422 and "registered as QCOW2" in answer.json()["errortext"]
    assert form.told.came[0].error and not (store.folder / "volumes" / "new.raw").exists()


def test_a_page_of_any_address_may_send_a_form(site, form):
    asked = site.client.options(form.path, headers={"Origin": "https://elsewhere.example"})
    assert asked.status_code == 204 and "x-signature" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in asked.headers


def test_an_upload_that_never_came_is_told_once(form):
    write(lambda tx: tx.execute(update(UploadTicket).values(expires=now() - timedelta(seconds=1))))
    timers.abandon_uploads()
    timers.abandon_uploads()
    assert form.told.gone == ["uuid-2"] and form.send().status_code == 403
