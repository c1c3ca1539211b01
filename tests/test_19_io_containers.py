"""Containers: no name leads out of them; no zip, damaged or crafted, writes anywhere else."""

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sarcast.errors import SarcastError
from sarcast.ingest.grd import unzipped
from sarcast.io import containers
from sarcast.io.containers import inside, is_zip, members, opened_zip

OUTSIDE = (
    "../x", "a/../../x", "a/..", "/etc/passwd", "C:\\x", "C:x", "a\\..\\..\\x", "..\\x", "", "a\0b",
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="which does not lie in it"):
        inside(tmp_path, name)


def test_a_link_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.write_text("secret")
    (folder / "out").symlink_to(other)
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "own").write_text("x")
    (folder / "in").symlink_to("own")
    for name in ("out", "up/other"):
        with pytest.raises(SarcastError, match=r"is a link to .*other, outside of"):
            inside(folder, name)
    with pytest.raises(SarcastError, match="cannot be followed"):
        inside(folder, "loop")
    assert inside(folder, "in") == folder / "in"
    (tmp_path / "linked").symlink_to(folder)
    assert inside(tmp_path / "linked", "./own").read_text() == "x"


# --- zips -----------------------------------------------------------------------------------------


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def patched(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


PLAIN = {"p.SAFE/manifest.safe": b"<a/>", "p.SAFE/b": b"x" * 5000}


def encrypted(path: Path) -> None:
    content = bytearray(pack(path, PLAIN).read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + flags] |= 1
    path.write_bytes(content)


def damaged(method: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = bytearray(
            pack(path, {**PLAIN, "p.SAFE/b": bytes(range(256)) * 99}, method).read_bytes()
        )
        start = content.index(b"p.SAFE/b") + 12
        content[start : start + 40] = bytes(40)
        path.write_bytes(content)

    return write


def linked(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("p.SAFE/manifest.safe", b"<a/>")
        link = zipfile.ZipInfo("p.SAFE/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")


def doubled(path: Path) -> None:
    patched(pack(path, {**PLAIN, "p.SAFE/c": b"y"}), b"p.SAFE/c", b"p.SAFE/b")


def file_and_folder(path: Path) -> None:
    pack(path, {**PLAIN, "p.SAFE/b/c": b"y"})


def not_utf8(path: Path) -> None:
    """A name of bytes that are not UTF-8, although its flag says so."""
    patched(pack(path, {**PLAIN, "p.SAFE/\u00e9": b"y"}), "\u00e9".encode(), b"\xff\xff")


def truncated(path: Path) -> None:
    path.write_bytes(pack(path, PLAIN).read_bytes()[:-30])


def unknown_method(path: Path) -> None:
    content = bytearray(pack(path, PLAIN).read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99
    content[content.index(b"PK\x03\x04") + 8] = 99
    path.write_bytes(content)


def many(path: Path) -> None:
    pack(path, {f"p.SAFE/{number}": b"" for number in range(containers.MOST_MEMBERS + 1)})


def long_directory(path: Path) -> None:
    """A list of members that is stated to be far longer than any."""
    content = bytearray(pack(path, PLAIN).read_bytes())
    struct.pack_into("<L", content, content.rindex(b"PK\x05\x06") + 12, 2**31)
    path.write_bytes(content)


def before_the_start(path: Path) -> None:
    """A member whose place, by the offset of the list, lies before the start of the file."""
    content = bytearray(pack(path, PLAIN).read_bytes())
    start = content.rindex(b"PK\x05\x06") + 16
    offset = struct.unpack_from("<L", content, start)[0]
    struct.pack_into("<L", content, start, offset + 5000)
    path.write_bytes(content)


HOSTILE = {
    "before the start": (before_the_start, "is a damaged zip"),
    "encrypted": (encrypted, "is an encrypted zip"),
    "deflate": (damaged(zipfile.ZIP_DEFLATED), "is a damaged zip"),
    "lzma": (damaged(zipfile.ZIP_LZMA), "is a damaged zip"),
    "bz2": (damaged(zipfile.ZIP_BZIP2), "is a damaged zip"),
    "stored": (damaged(zipfile.ZIP_STORED), r"is a damaged zip, .*\(Bad CRC"),
    "link": (linked, "contains a link, p.SAFE/link"),
    "doubled": (doubled, "is a damaged zip: it contains 'p.SAFE/b' twice"),
    "file and folder": (file_and_folder, "is a damaged zip: it contains 'p.SAFE/b' twice"),
    "not UTF-8": (not_utf8, "is a damaged zip"),
    "truncated": (truncated, "is a damaged zip"),
    "unknown method": (unknown_method, "is a damaged zip"),
    "many": (many, "contains 1001 files, expected at most 1000"),
    "long directory": (long_directory, "contains more than 1000 files"),
    "parent": (lambda path: pack(path, {**PLAIN, "p.SAFE/../../evil": b"y"}), "does not lie in it"),
    "absolute": (lambda path: pack(path, {**PLAIN, "/tmp/evil": b"y"}), "does not lie in it"),
    "backslash": (lambda path: pack(path, {**PLAIN, "..\\evil": b"y"}), "does not lie in it"),
    "drive": (lambda path: pack(path, {**PLAIN, "C:/evil": b"y"}), "does not lie in it"),
}


@pytest.mark.parametrize(("write", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_zips_are_refused_and_leave_nothing(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    write(path)
    with pytest.raises(SarcastError, match=message) as caught, unzipped(path, tmp_path / "work"):
        pass
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]
)
def test_a_sound_zip_is_unpacked(method: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {**PLAIN, "p.SAFE/d/": b""}, method)
    assert is_zip(path)
    with unzipped(path, tmp_path / "work") as folder:
        assert (folder / "b").read_bytes() == PLAIN["p.SAFE/b"]


def test_a_zip_that_expands_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", {"a": bytes(10**6)})
    with opened_zip(path) as packed:
        assert len(members(packed, path, tmp_path)) == 1
        monkeypatch.setattr(containers, "_LARGE", 10**5)
        with pytest.raises(SarcastError, match="expands to .* times its size"):
            members(packed, path, tmp_path)


def test_a_file_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a", b"x")
        packed.infolist()[0].filename = ""
    with opened_zip(path) as packed, pytest.raises(SarcastError, match="a file without a name"):
        members(packed, path, tmp_path)


def test_a_member_is_unpacked_no_further_than_it_states(tmp_path: Path) -> None:
    """A member of 5000 bytes that states 10: its rest is not written, its checksum fails."""
    path = pack(tmp_path / "a.zip", PLAIN)
    patched(path, struct.pack("<L", 5000), struct.pack("<L", 10))
    with pytest.raises(SarcastError, match="is a damaged zip"), unzipped(path, tmp_path / "work"):
        pass


def test_a_zip64_with_a_long_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    end64 = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 9, 9, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(end64 + locator + end)
    with pytest.raises(SarcastError, match="more than 1000 files"), opened_zip(path):
        pass
