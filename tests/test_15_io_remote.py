import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError

from conftest import GRID
from sarcast.catalogue import open_catalogue
from sarcast.cli import main
from sarcast.commands.config import Config, write_record
from sarcast.errors import SarcastError, UsageError, without_credentials
from sarcast.io.rasters import write_cog
from sarcast.io.remote import PASSING, RemoteOptions, gdal_settings, is_remote, patiently
from services import Answer, Asked, web

SECRET = "s3cret"
SHOWN = {
    f"https://me:{SECRET}@example.org/a.tif": "https://example.org/a.tif",
    f"postgresql://me:{SECRET}@[::1]:5432/db": "postgresql://[::1]:5432/db",
    f"postgresql://me:{SECRET}/@/more@h/db": "postgresql://h/db",
    f"postgresql:///db?host=/tmp&password={SECRET}": "postgresql:///db?host=***&password=***",
    f"'/vsicurl/https://a.b/c.tif?sig={SECRET}%2B&se=1'": "'/vsicurl/https://a.b/c.tif?sig=***&se=***'",
    f"https:/me:{SECRET}@example.org/a.tif": "https:/example.org/a.tif",
    f"url: /search?token={SECRET} (Caused by)": "url: /search?token=*** (Caused by)",
    f"https://{SECRET}@example.org and http://x.y/": "https://example.org and http://x.y/",
    "write to me@example.org; a/b?c is no query": "write to me@example.org; a/b?c is no query",
    "https://example.org/a,b/c.tif": "https://example.org/a,b/c.tif",
}


@pytest.mark.parametrize("text", SHOWN)
def test_credentials_are_taken_out(text: str) -> None:
    assert without_credentials(text) == SHOWN[text]
    assert SECRET not in without_credentials(text)


def test_no_way_out_tells_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors, lines, records and what the command line repeats of what it was given."""
    url = f"https://me:{SECRET}@example.org/stac?key={SECRET}"
    for kind in (SarcastError, UsageError):
        assert SECRET not in str(kind(f"{url} is gone"))
    logging.getLogger("sarcast.test").info("reading %s", url)

    class Options(Config):
        one: str = url
        more: tuple[str, ...] = (url,)

    write_record(tmp_path, "cube", {"catalogue": url, "file": Path(url)}, Options())
    told = (tmp_path / "run.yaml").read_text()
    assert told.count("example.org/stac") == 4
    for words in (["cube", url, "--unknown", url], ["index", url, "--to", url], ["cube", url, url]):
        with pytest.raises(SystemExit):
            main(words)
    assert SECRET not in told + "".join(capsys.readouterr())


def test_what_is_remote() -> None:
    assert all(map(is_remote, ("https://a.b/c", "s3://a/b", "/vsicurl/https://a.b/c")))
    assert not any(map(is_remote, ("a/b.tif", "/a/b.tif", "./a.tif")))


# --- patience -----------------------------------------------------------------------------------


class Fault(Exception):
    pass


@pytest.mark.parametrize(("faults", "tries", "calls"), [(0, 3, 1), (2, 3, 3), (3, 3, 3), (9, 1, 1)])
def test_a_call_is_tried_as_often_as_told(
    faults: int, tries: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    made = 0

    def call() -> str:
        nonlocal made
        made += 1
        if made <= faults:
            raise Fault(made)
        return "done"

    options = RemoteOptions(tries=tries, pause=3.0)
    if faults >= tries:
        with pytest.raises(Fault, match=str(tries)):
            patiently(call, options, lambda fault: isinstance(fault, Fault))
    else:
        assert patiently(call, options, lambda fault: isinstance(fault, Fault)) == "done"
    assert made == calls
    assert pauses == [3.0, 6.0, 12.0][: calls - 1]


def test_what_does_not_pass_is_not_tried_again() -> None:
    made = []
    with pytest.raises(Fault):
        patiently(lambda: made.append(1) or _fail(), RemoteOptions(), lambda fault: False)  # noqa: ARG005
    assert made == [1]


def _fail() -> None:
    raise Fault


# --- rasters behind a URL -----------------------------------------------------------------------


@pytest.fixture
def cog(tmp_path: Path) -> bytes:
    path = tmp_path / "one.tif"
    write_cog(path, np.arange(60 * 80, dtype=np.float32).reshape(60, 80), GRID)
    return path.read_bytes()


def read(url: str, options: RemoteOptions) -> np.ndarray:
    with rasterio.Env(**gdal_settings(options)), rasterio.open(url) as source:
        values: np.ndarray = source.read(1)
    return values


class Spoiled:
    """A raster whose first answers are spoiled."""

    def __init__(self, body: bytes, spoiled: Answer, times: int) -> None:
        self.body, self.spoiled, self.left = body, spoiled, times
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:  # noqa: ARG002
        with self._lock:
            self.left -= 1
            return self.spoiled if self.left >= 0 else Answer(self.body)


@pytest.mark.parametrize("status", sorted(PASSING - {408, 425}))
def test_gdal_waits_out_what_passes(status: int, cog: bytes) -> None:
    with web(Spoiled(cog, Answer(b"busy", status=status), 2)) as (url, _):
        values = read(f"{url}/{status}.tif", RemoteOptions(tries=3, pause=0.05))
    np.testing.assert_array_equal(values, np.arange(60 * 80).reshape(60, 80))


def test_gdal_logs_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with web(Spoiled(b"", Answer(b"", status=503), 99)) as (url, _), pytest.raises(RasterioError):
        keyed = url.replace("://", f"://me:{SECRET}@") + f"/keyed.tif?sig={SECRET}"
        read(keyed, RemoteOptions(tries=2, pause=0.05))
    assert "/keyed.tif?sig=*** Retrying again" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("status", "most"), [(503, 6), (404, 3)])
def test_gdal_gives_up(status: int, most: int, cog: bytes) -> None:
    with web(Spoiled(cog, Answer(b"", status=status), 99)) as (url, asked):
        with pytest.raises(RasterioError):
            read(f"{url}/gone-{status}.tif", RemoteOptions(tries=3, pause=0.05))
        assert 1 <= len([one for one in asked if one.path.endswith(f"gone-{status}.tif")]) <= most


def test_gdal_does_not_wait_for_ever(cog: bytes) -> None:
    with web(Spoiled(cog, Answer(cog, after_s=5.0), 99)) as (url, _):
        start = time.monotonic()
        with pytest.raises(RasterioError):
            read(f"{url}/slow.tif", RemoteOptions(tries=2, timeout=1.0, pause=0.05))
        assert time.monotonic() - start < 4.9


def test_credentials_without_a_scheme_are_taken_out_too() -> None:
    assert (
        without_credentials("invalid address 'me:secret@host:8786'")
        == "invalid address 'host:8786'"
    )
    assert without_credentials("at 15:58 from S1A: me@here") == "at 15:58 from S1A: me@here"


def test_a_url_that_is_none() -> None:
    with pytest.raises(UsageError, match="is no URL") as said:
        open_catalogue("https://me:secret@[half")
    assert "secret" not in str(said.value)
