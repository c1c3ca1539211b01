r"""What depends on the system: paths and names of files, under the rules of Windows, on any system.

The functions of ``os.path`` are replaced by those of ``ntpath``, which know drives, backslashes and
names without case. Locks as Windows has them are tested in ``test_13_io_files.py``.
"""

import ntpath
import nturl2path
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sarcast.catalogue import hrefs
from sarcast.catalogue.hrefs import Places, absolute, is_url
from sarcast.catalogue.unusable import UnusableError
from sarcast.errors import SarcastError
from sarcast.ingest.grd import locate
from sarcast.io.containers import inside


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of hrefs follow the rules of Windows."""
    monkeypatch.setattr(hrefs, "os", SimpleNamespace(path=ntpath, sep="\\"))
    monkeypatch.setattr(hrefs, "url2pathname", nturl2path.url2pathname)


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        (r"C:\data\a.tif", "", r"C:\data\a.tif"),
        ("C:/data/a.tif", "", r"C:\data\a.tif"),
        ("file:///C:/data/a%20b.tif", "", r"C:\data\a b.tif"),
        ("file:///C:/data/../a.tif", "", r"C:\a.tif"),
        ("file://server/share/a.tif", "", "file://server/share/a.tif"),
        ("file:///C|D|a.tif", "", "file:///C|D|a.tif"),
        ("./b/a.tif", r"D:\items\item.json", r"D:\items\b\a.tif"),
        (r"..\a.tif", r"D:\items\item.json", r"D:\a.tif"),
        (r"\\server\share\a.tif", "", r"\\server\share\a.tif"),
        ("https://example.org/a.tif", r"D:\items\item.json", "https://example.org/a.tif"),
    ],
)
def test_hrefs_become_paths_of_windows(href: str, base: str, expected: str) -> None:
    assert absolute(href, base) == expected


def test_a_drive_is_no_scheme() -> None:
    assert not is_url(r"C:\data\a.tif")
    assert not is_url("C:/data/a.tif")
    assert is_url("s3://bucket/a.tif")
    assert is_url("NETCDF:a.nc:z")


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize(
    ("href", "is_opened"),
    [
        (r"C:\catalogue\a.tif", True),
        ("./a.tif", True),
        ("file:///C:/catalogue/a.tif", True),
        (r"c:\Catalogue\a.tif", True),
        (r"D:\allowed\a.tif", True),
        (r"C:\catalogue-of-others\a.tif", False),
        (r"C:\catalogue\..\secret\a.tif", False),
        ("file:///C:/catalogue/../secret/a.tif", False),
        (r"\\server\share\a.tif", False),
        ("file://server/share/a.tif", False),
        ("/vsizip/C:/catalogue/a.zip/a.tif", False),
        (r"C:\catalogue\a.vrt", False),
    ],
)
@pytest.mark.parametrize("follow_links", [True, False])
def test_items_open_what_they_may_under_the_rules_of_windows(
    href: str, is_opened: bool, follow_links: bool
) -> None:
    places = Places(r"C:\catalogue", allowed=(r"D:\allowed",), follow_links=follow_links)
    check: Callable[[], str] = lambda: places.check(href, r"C:\catalogue\items.parquet", "item")  # noqa: E731
    if is_opened:
        assert ntpath.isabs(check())
    else:
        with pytest.raises(UnusableError):
            check()


@pytest.mark.parametrize("follow_links", [True, False])
def test_a_file_url_does_not_leave_the_catalogue_by_dots(
    tmp_path: Path, follow_links: bool
) -> None:
    """On every system, whether links may lead out or not."""
    home = tmp_path / "catalogue"
    home.mkdir()
    places = Places(str(home), follow_links=follow_links)
    assert places.check(f"file://{home}/a.tif", "", "item") == str(home / "a.tif")
    with pytest.raises(UnusableError):
        places.check(f"file://{home}/../a.tif", "", "item")


@pytest.mark.usefixtures("windows")
def test_a_product_is_looked_for_at_a_path_of_windows() -> None:
    assert str(locate._local(r"C:\eodata\S1A.SAFE\manifest.safe")) == (
        r"C:\eodata\S1A.SAFE\manifest.safe"
    )
    assert str(locate._local("file:///C:/eodata/S1A.zip")) == r"C:\eodata\S1A.zip"
    assert locate._local("https://example.org/S1A.zip") is None


@pytest.mark.parametrize(
    "name", ["C:a.tif", "C:\\a.tif", "..\\a.tif", "a\\b.tif", "/a.tif", "a/../../b"]
)
def test_names_in_archives_lead_out_on_no_system(name: str, tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="does not lie in it"):
        inside(tmp_path, name)
