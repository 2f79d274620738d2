"""Templates whose files were copied become known: from a folder, and where they lie on secondary storage."""

import hashlib
import shutil
import subprocess

import pytest
from sqlalchemy import func, select

from mgmt_server.db import reading, write
from mgmt_server.errors import Failed
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.importing import Wish, import_all
from mgmt_server.resources.template.layout import in_folder, on_store
from tests.api.test_template_download import DISK, ZONE, files, qcow2, store  # noqa: F401
from tests.crash.invariants import broken


@pytest.fixture
def url(cloud, store):  # noqa: F811
    """A zone whose secondary storage is a folder."""
    cloud.ask("createZone", name="east", **ZONE)
    return added(store)


def added(folder):
    """A further secondary storage of the zone; the first one is tried first, as none has told its room."""

    def add(tx):
        number = tx.scalar(select(Zone.id).where(Zone.name == "east"))
        tx.add(ImageStore(name="s", url=f"file://{folder}", protocol="file", zone_id=number))

    write(add)
    return f"file://{folder}"


def laid(root, account=2, number=202, content=None, name="509f8d99.qcow2", **more):
    """A folder as another cloud's secondary storage has it."""
    folder = root / "template" / "tmpl" / str(account) / str(number)
    folder.mkdir(parents=True)
    content = qcow2() if content is None else content
    (folder / name).write_bytes(content)
    told = {
        "filename": name, "id": number, "public": "true", "hvm": "true", "description": "from elsewhere",
        "uniquename": f"{number}-{account}-fc9f565a", "size": len(content), "virtualsize": DISK,
        "checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(), name.rpartition(".")[2]: "true", **more,
    }  # fmt: skip
    text = "#\n#Mon Jul 29 06:42:11 UTC 2013\n" + "".join(f"{k}={v}\n" for k, v in told.items() if v is not None)
    (folder / "template.properties").write_text(text)
    return folder


def listed(cloud):
    return cloud.ask("listTemplates", templatefilter="self").get("template", [])


def counted():
    with reading() as session:
        tables = (Template, TemplateOnStore)
        return [session.scalar(select(func.count()).select_from(t)) for t in tables]


def test_a_folder_is_imported_once(cloud, url, store, tmp_path):  # noqa: F811
    laid(tmp_path / "copied")
    before = counted()
    told = import_all(in_folder(tmp_path / "copied"), Wish(dry_run=True))
    assert len(told.imported) == 1 and not told.failed and counted() == before and files(store) == []
    told = import_all(in_folder(tmp_path / "copied"), Wish())
    assert len(told.imported) == 1 and not told.failed
    (seen,) = listed(cloud)
    assert (seen["isready"], seen["ispublic"], seen["size"]) == (True, True, DISK)
    assert (seen["displaytext"], seen["account"], seen["format"]) == ("from elsewhere", "admin", "QCOW2")
    (file,) = files(store)
    assert file.read_bytes() == qcow2()
    for wish in (Wish(), Wish(dry_run=True)):
        again = import_all(in_folder(tmp_path / "copied" / "template"), wish)
        assert len(again.known) == 1 and not again.imported
    assert len(listed(cloud)) == 1
    cloud.job("deleteTemplate", id=seen["id"])
    assert files(store) == [] and len(files(tmp_path / "copied")) == 2


def test_what_lies_on_the_store_is_used_where_it_lies(cloud, url, store):  # noqa: F811
    folder = laid(store)
    laid(store, number=203, content=b"\0" * (1 << 20), name="x.raw", raw="true")
    laid(store, account=1, number=3)
    told = import_all(on_store(url), Wish())
    assert len(told.imported) == 2 and len(told.skipped) == 1 and not told.failed, told
    assert sorted(t["format"] for t in listed(cloud)) == ["QCOW2", "RAW"]
    with reading() as session:
        paths = set(session.scalars(select(TemplateOnStore.path)))
    assert f"template/tmpl/2/202/{next(folder.glob('*.qcow2')).name}" in paths
    assert len(files(store)) == 6  # nothing was copied
    assert len(import_all(on_store(url), Wish()).known) == 2


def test_disks_of_another_hypervisor_are_converted_beside_what_lies_there(cloud, url, store, tmp_path):  # noqa: F811
    disk = tmp_path / "d.vhd"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vpc", str(disk), "8M"], check=True)
    laid(store, content=disk.read_bytes(), name="d.vhd")
    assert import_all(on_store(url), Wish()).failed == []
    assert sorted(f.suffix for f in files(store)) == [".properties", ".qcow2", ".vhd"]
    assert listed(cloud)[0]["isready"] is True


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"checksum": "0" * 32}, "the checksum is wrong"),
        ({"filename": "../../../secret"}, "names no file of its folder"),
        ({"filename": "gone.qcow2"}, "is missing"),
        ({"raw": "true"}, "does not tell the format"),
        ({"account": 99}, "say with --account and --domain"),
        ({"content": qcow2(b"/etc/shadow")}, "could make a host read other files"),
        ({"content": b"<html>" * 20000}, "its content is raw"),
    ],
)
def test_what_is_wrong_is_told_and_the_others_go_on(cloud, url, tmp_path, more, told):
    laid(tmp_path, **more)
    laid(tmp_path, number=300)
    found = import_all(in_folder(tmp_path), Wish())
    assert len(found.imported) == 1 and len(found.failed) == 1 and told in found.failed[0], found
    assert [t["isready"] for t in listed(cloud) if t["isready"]] == [True]


def test_what_failed_is_done_by_the_next_run(cloud, url, store, tmp_path):  # noqa: F811
    folder = laid(tmp_path / "copied")
    properties = (folder / "template.properties").read_text()
    (folder / "template.properties").write_text(properties.replace("checksum=", "checksum=00"))
    assert import_all(in_folder(folder), Wish()).failed
    assert "checksum" in listed(cloud)[0]["status"]
    assert import_all(in_folder(folder), Wish(checksums=False)).failed == []
    assert [t["isready"] for t in listed(cloud)] == [True]


def test_a_store_that_is_away_is_passed_over(cloud, url, store, tmp_path):  # noqa: F811
    laid(tmp_path / "copied")
    shutil.rmtree(store)
    second = tmp_path / "second"
    added(second)
    (told,) = import_all(in_folder(tmp_path / "copied"), Wish()).failed
    assert f"no folder {store} " in told and f"no folder {second} " in told
    assert "no folder" in listed(cloud)[0]["status"] and counted()[1] == 1
    store.mkdir()  # what was told of the second one does not stay either
    assert len(import_all(in_folder(tmp_path / "copied"), Wish()).imported) == 1
    assert counted()[1] == 1 and len(files(store)) == 1
    cloud.job("deleteTemplate", id=listed(cloud)[0]["id"])
    shutil.rmtree(store)
    second.mkdir()
    found = import_all(in_folder(tmp_path / "copied"), Wish())
    assert len(found.imported) == 1 and not found.failed
    assert [t["isready"] for t in listed(cloud)] == [True] and len(files(second)) == 1 and broken() == []
    with reading() as session:
        urls = select(ImageStore.url).join(TemplateOnStore, TemplateOnStore.store_id == ImageStore.id)
        assert session.scalars(urls).all() == [f"file://{second}"]  # nothing tells of the first one
    store.mkdir()
    assert len(import_all(in_folder(tmp_path / "copied"), Wish()).known) == 1 and files(store) == []


def test_an_image_that_is_at_fault_is_not_tried_elsewhere(cloud, url, tmp_path):
    laid(tmp_path / "copied", content=qcow2(b"/etc/shadow"))
    (tmp_path / "second").mkdir()
    added(tmp_path / "second")
    (told,) = import_all(in_folder(tmp_path / "copied"), Wish()).failed
    assert told.count("could make a host read other files") == 1 and files(tmp_path / "second") == []


def test_an_owner_and_a_zone_can_be_named(cloud, url, tmp_path):
    cloud.account("ann", domain="/a/")
    laid(tmp_path, account=77)
    assert "no account nobody" in import_all(in_folder(tmp_path), Wish(account="nobody")).failed[0]
    assert (
        "no zone nowhere" in import_all(in_folder(tmp_path), Wish(account="ann", domain="a", zone="nowhere")).failed[0]
    )
    assert import_all(in_folder(tmp_path), Wish(account="ann", domain="ROOT/a", zone="east")).failed == []
    (seen,) = cloud.ask("listTemplates", user="ann", templatefilter="self")["template"]
    assert (seen["account"], seen["domain"], seen["zonename"]) == ("ann", "a", "east")


def test_a_link_on_the_store_leads_nowhere(cloud, url, store, tmp_path):  # noqa: F811
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 4096)
    folder = laid(store, content=b"x", name="d.raw", checksum=None)
    (folder / "d.raw").unlink()
    (folder / "d.raw").symlink_to(secret)
    assert "leads out of its store" in import_all(on_store(url), Wish()).failed[0]
    assert "is missing" in import_all(in_folder(folder), Wish()).failed[0]


def test_folders_without_a_template_are_told(url, store, tmp_path):  # noqa: F811
    for find in (lambda: list(on_store(url)), lambda: list(in_folder(tmp_path / "store"))):
        with pytest.raises(Failed, match=r"template\.properties"):
            find()
    shutil.rmtree(store)
    with pytest.raises(Failed, match="is no folder"):
        list(in_folder(store))
