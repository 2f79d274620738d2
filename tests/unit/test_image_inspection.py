"""Images that somebody made to be read wrongly: each is refused by name, and sound ones pass."""

import io
import struct
import subprocess
import tarfile

import pytest

from mgmt_server.drivers.image.inspect import inspect, inspect_beginning
from mgmt_server.drivers.image.ova import disk_of_ova
from mgmt_server.errors import Failed

SIZE = 8 << 20


def made(path, format, *options, size="8M"):
    subprocess.run(["qemu-img", "create", "-q", "-f", format, *options, str(path), size], check=True)
    return path


def patched(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)
    return path


@pytest.fixture
def iso(tmp_path):
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_bytes(b"x" * 100_000)
    file = tmp_path / "t.iso"
    subprocess.run(["genisoimage", "-quiet", "-R", "-o", str(file), str(tmp_path / "content")], check=True)
    return file


@pytest.mark.parametrize(
    ("registered", "format", "options"),
    [
        ("QCOW2", "qcow2", ()),
        ("QCOW2", "qcow2", ("-o", "compat=0.10")),
        ("VHD", "vpc", ()),
        ("VHD", "vpc", ("-o", "subformat=fixed")),
        ("VHDX", "vhdx", ()),
        ("VMDK", "vmdk", ("-o", "subformat=monolithicSparse")),
        ("VMDK", "vmdk", ("-o", "subformat=streamOptimized")),
        ("RAW", "raw", ()),
    ],
)
def test_sound_images_pass_with_their_size(tmp_path, registered, format, options):
    found = inspect(made(tmp_path / "t", format, *options), registered)
    assert SIZE <= found.virtual_size < SIZE + (1 << 20)


def test_an_iso_passes_also_one_that_boots_from_disks(iso):
    assert inspect(iso, "ISO").format == "iso"
    # a partition table in the part that ISO 9660 leaves to others, as hybrid images have it
    entry = struct.pack("<BBBBBBBBII", 0x80, 0, 2, 0, 0x17, 0, 2, 0, 0, iso.stat().st_size // 512)
    patched(iso, 446, entry.ljust(64, b"\0") + b"\x55\xaa")
    assert inspect(iso, "ISO").format == "iso"


def test_the_beginning_of_an_iso_tells_what_it_is(iso, tmp_path):
    size = iso.stat().st_size
    beginning = tmp_path / "beginning"
    beginning.write_bytes(iso.read_bytes()[:65536])
    assert inspect_beginning(beginning, "ISO", size) == size
    with pytest.raises(Failed, match="cut off"):
        inspect_beginning(patched(beginning, 32768 + 80, struct.pack("<L", 1 << 20)), "ISO", size)
    (tmp_path / "no.iso").write_bytes(b"no disc" * 20_000)
    with pytest.raises(Failed, match="its content is raw"):
        inspect_beginning(tmp_path / "no.iso", "ISO", 140_000)


def test_an_iso_that_is_something_else_too_or_cut_off_is_refused(iso, tmp_path):
    with pytest.raises(Failed, match="registered as RAW, and its content is"):
        inspect(iso, "RAW")
    (tmp_path / "no.iso").write_bytes(b"no disc" * 20_000)
    with pytest.raises(Failed, match="its content is raw"):
        inspect(tmp_path / "no.iso", "ISO")
    patched(iso, 32768 + 80, struct.pack("<L", 1 << 20))
    with pytest.raises(Failed, match="cut off"):
        inspect(iso, "ISO")
    head = made(tmp_path / "q", "qcow2").read_bytes()[:512]
    with pytest.raises(Failed, match=r"content is iso\+qcow2"):
        inspect(patched(iso, 0, head), "ISO")


@pytest.mark.parametrize(
    ("at", "data", "told"),
    [
        (24, struct.pack(">Q", 1 << 60), "does not fit"),
        (20, struct.pack(">I", 40), "clusters are of"),
        (32, struct.pack(">I", 2), "encrypted"),
        (36, struct.pack(">I", 1 << 28), "does not fit"),
        (40, struct.pack(">Q", 1 << 40), "behind its end"),
        (48, struct.pack(">Q", 1 << 40), "behind its end"),
        (72, struct.pack(">Q", 2), "corrupt"),
        (72, struct.pack(">Q", 4), "other files"),
        (72, struct.pack(">Q", 1 << 40), "other files"),
    ],
)
def test_a_qcow2_header_that_lies_is_refused(tmp_path, at, data, told):
    with pytest.raises(Failed, match=told):
        inspect(patched(made(tmp_path / "t", "qcow2"), at, data), "QCOW2")


def test_other_files_are_named_by_no_image(tmp_path):
    made(tmp_path / "base", "qcow2")
    above = made(tmp_path / "t", "qcow2", "-b", "base", "-F", "qcow2")
    with pytest.raises(Failed, match="backing file"):
        inspect(above, "QCOW2")
    data = made(tmp_path / "d", "qcow2", "-o", f"data_file={tmp_path}/raw,data_file_raw=on")
    with pytest.raises(Failed, match="data_file"):
        inspect(data, "QCOW2")


def test_a_vmdk_that_describes_other_files_is_refused(tmp_path):
    text = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="{}"\nRW 16384 {} "{}" 0\n'
    for kind, extent, name, told in (
        ("monolithicFlat", "FLAT", "/etc/shadow", "other files|cannot be read"),
        ("monolithicSparse", "SPARSE", "/etc/shadow", "other files|cannot be read"),
        ("monolithicSparse", "SPARSE", "beside.vmdk", "description of other files|cannot be read"),
    ):
        file = tmp_path / "t.vmdk"
        file.write_text(text.format(kind, extent, name))
        with pytest.raises(Failed, match=told):
            inspect(file, "VMDK")
    sparse = made(tmp_path / "s.vmdk", "vmdk", "-o", "subformat=monolithicSparse")
    with pytest.raises(Failed, match="read as a description"):
        inspect(patched(sparse, 12, bytes(8)), "VMDK")


def test_differencing_disks_are_refused(tmp_path):
    vhd = made(tmp_path / "t.vhd", "vpc")
    with pytest.raises(Failed, match="differs from another disk"):
        inspect(patched(vhd, vhd.stat().st_size - 512 + 60, struct.pack(">I", 4)), "VHD")
    vhdx = made(tmp_path / "t.vhdx", "vhdx")
    content = vhdx.read_bytes()
    at = content.index(b"metadata")
    parent = __import__("uuid").UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    with pytest.raises(Failed, match="differs from another disk"):
        inspect(patched(vhdx, at + 32, parent), "VHDX")


def test_a_raw_image_is_never_something_that_a_program_would_guess(tmp_path):
    for format, kind in (("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhdx", "vhdx")):
        with pytest.raises(Failed, match=f"its content is {kind}"):
            inspect(made(tmp_path / format, format), "RAW")


def test_a_disk_may_not_be_absurdly_large(tmp_path):
    huge = made(tmp_path / "t", "qcow2", size="3T")
    with pytest.raises(Failed, match="at most"):
        inspect(huge, "QCOW2")


def ova(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            member.linkname = content.decode() if kind != tarfile.REGTYPE else ""
            archive.addfile(member, io.BytesIO(content))
    return path


FILE, LINK = tarfile.REGTYPE, tarfile.SYMTYPE
OVF = ("t.ovf", b"<Envelope/>", FILE)


def test_the_disk_is_taken_out_of_an_archive(tmp_path):
    disk = made(tmp_path / "d.vmdk", "vmdk", "-o", "subformat=streamOptimized").read_bytes()
    disk_of_ova(ova(tmp_path / "t.ova", OVF, ("t-disk1.vmdk", disk, FILE)), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == disk


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([OVF, ("t.vmdk", b"/etc/shadow", LINK)], "is a link"),
        ([OVF, ("../t.vmdk", b"x", FILE)], "outside of it"),
        ([OVF, ("/etc/t.vmdk", b"x", FILE)], "outside of it"),
        ([OVF, ("a.vmdk", b"x", FILE), ("b.vmdk", b"x", FILE)], "2 disks"),
        ([OVF], "0 disks"),
        ([("t.vmdk", b"x", FILE)], "no OVA"),
        ([(f"f{n}", b"", FILE) for n in range(200)], "more than 100 files"),
    ],
)
def test_an_archive_with_a_trap_in_it_is_refused(tmp_path, members, told):
    with pytest.raises(Failed, match=told):
        disk_of_ova(ova(tmp_path / "t.ova", *members), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not (tmp_path / "out").stat().st_size


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "t.ova").write_bytes(b"x" * 4096)
    with pytest.raises(Failed, match="no archive"):
        disk_of_ova(tmp_path / "t.ova", tmp_path / "out")
