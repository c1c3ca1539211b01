import logging
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError

from conftest import GRID
from fuzz.fuzz_secrets import leaks
from sarcast.catalogue import open_catalogue
from sarcast.cli import main
from sarcast.commands.config import Config, write_record
from sarcast.errors import SarcastError, UsageError, hide, without_credentials
from sarcast.io.cogs import write_cog
from sarcast.io.remote import TRANSIENT_STATUS, RemoteOptions, gdal_settings, is_remote, retry
from services import Answer, Request, web

SECRET = "s3cret"
CLEANED = {
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
    f"postgresql://me:it's {SECRET}@h/db": "postgresql://h/db",
    f'https://me:"{SECRET}@h/a.tif': "https://h/a.tif",
    f"https://h/a?b={SECRET}'{SECRET}#{SECRET}": "https://h/a?b=***",
    f"https://h/a?b=c@{SECRET}": "https://***",
    f"host=h password='a \\'{SECRET}' dbname=x": "host=h password=*** dbname=x",
    f"host=h password={SECRET} dbname=x": "host=h password=*** dbname=x",
    f"PGPASSWORD={SECRET} psql": "PGPASSWORD=*** psql",
    f"aws_secret_access_key={SECRET}/x y": "aws_secret_access_key=*** y",
    f"{{'Authorization': 'Bearer {SECRET}.x'}}": "{'Authorization': '***'}",
    f"Authorization: Basic {SECRET}== next": "Authorization: *** next",
    "password authentication failed for user me": "password authentication failed for user me",
    "http://127.0.0.1:8080 failed for me@x.y": "http://127.0.0.1:8080 failed for me@x.y",
}


@pytest.mark.parametrize("text", CLEANED)
def test_credentials_are_taken_out(text: str) -> None:
    assert without_credentials(text) == CLEANED[text]
    assert SECRET not in without_credentials(text)


def test_no_output_contains_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors, log lines, run.yaml, and command-line messages that repeat an argument."""
    url = f"https://me:{SECRET}@example.org/stac?key={SECRET}"
    for kind in (SarcastError, UsageError):
        assert SECRET not in str(kind(f"{url} is gone"))
    logging.getLogger("sarcast.test").info("reading %s", url)

    class Options(Config):
        source: str = url
        more: tuple[str, ...] = (url,)

    write_record(tmp_path, "cube", {"catalogue": url, "file": Path(url)}, Options())
    record = (tmp_path / "run.yaml").read_text()
    assert record.count("example.org/stac") == 4
    for command in (
        ["cube", url, "--unknown", url],
        ["index", url, "--to", url],
        ["cube", url, url],
    ):
        with pytest.raises(SystemExit):
            main(command)
    assert SECRET not in record + "".join(capsys.readouterr())


def test_remote_paths() -> None:
    assert all(map(is_remote, ("https://a.b/c", "s3://a/b", "/vsicurl/https://a.b/c")))
    assert not any(map(is_remote, ("a/b.tif", "/a/b.tif", "./a.tif")))


# --- retries ------------------------------------------------------------------------------------


class Fault(Exception):
    pass


@pytest.mark.parametrize(("faults", "tries", "calls"), [(0, 3, 1), (2, 3, 3), (3, 3, 3), (9, 1, 1)])
def test_a_call_is_tried_as_often_as_configured(
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
            retry(call, options, lambda error: isinstance(error, Fault))
    else:
        assert retry(call, options, lambda error: isinstance(error, Fault)) == "done"
    assert made == calls
    assert pauses == [3.0, 6.0, 12.0][: calls - 1]


def test_permanent_failures_are_not_retried() -> None:
    made = []
    with pytest.raises(Fault):
        retry(lambda: made.append(1) or _fail(), RemoteOptions(), lambda error: False)  # noqa: ARG005
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
    with rasterio.Env(**gdal_settings(url, options)), rasterio.open(url) as source:
        values: np.ndarray = source.read(1)
    return values


class Faulty:
    """A raster whose first answers are faulty."""

    def __init__(self, body: bytes, fault: Answer, times: int) -> None:
        self.body, self.fault, self.left = body, fault, times
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:  # noqa: ARG002
        with self._lock:
            self.left -= 1
            return self.fault if self.left >= 0 else Answer(self.body)


@pytest.mark.parametrize("status", sorted(TRANSIENT_STATUS - {408, 425}))
def test_gdal_retries_transient_faults(status: int, cog: bytes) -> None:
    with web(Faulty(cog, Answer(b"busy", status=status), 2)) as (url, _):
        values = read(f"{url}/{status}.tif", RemoteOptions(tries=3, pause=0.05))
    np.testing.assert_array_equal(values, np.arange(60 * 80).reshape(60, 80))


def test_gdal_logs_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with web(Faulty(b"", Answer(b"", status=503), 99)) as (url, _), pytest.raises(RasterioError):
        keyed = url.replace("://", f"://me:{SECRET}@") + f"/keyed.tif?sig={SECRET}"
        read(keyed, RemoteOptions(tries=2, pause=0.05))
    assert "/keyed.tif?sig=***. Retrying again" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("status", "most"), [(503, 6), (404, 3)])
def test_gdal_gives_up(status: int, most: int, cog: bytes) -> None:
    with web(Faulty(cog, Answer(b"", status=status), 99)) as (url, requests):
        with pytest.raises(RasterioError):
            read(f"{url}/gone-{status}.tif", RemoteOptions(tries=3, pause=0.05))
        assert (
            1
            <= len([request for request in requests if request.path.endswith(f"gone-{status}.tif")])
            <= most
        )


def test_gdal_times_out(cog: bytes) -> None:
    with web(Faulty(cog, Answer(cog, after_s=5.0), 99)) as (url, _):
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


def test_an_invalid_url() -> None:
    with pytest.raises(UsageError, match="is no URL") as error:
        open_catalogue("https://me:secret@[half")
    assert "secret" not in str(error.value)


def test_a_url_whose_password_has_no_clear_end_is_refused() -> None:
    for place in ("http", "https", "postgresql"):
        for url in (
            f"{SECRET}/x@h/a",
            f"me:{SECRET}#x@h/a",
            f"me:a@{SECRET}@h/a",
            f"me:{SECRET}?@h",
        ):
            with pytest.raises(UsageError, match="percent-encode|percent-encoded") as error:
                open_catalogue(f"{place}://me:{url}")
            assert SECRET not in str(error.value)
        with pytest.raises(UsageError, match="percent-encode"):
            open_catalogue(f"{place}://{SECRET}?x@h/a")


def test_the_message_of_a_library_is_free_of_known_credentials() -> None:
    """In any quoting, and of any part of them."""
    url = f"postgresql://me:{SECRET}'a b/{SECRET}@h/db?sslpassword={SECRET}%2Fx"
    for text in (f"invalid port {SECRET!r}", f"{url!r}", f"at '{SECRET}''a b'", f"{SECRET}/x"):
        assert SECRET not in hide(text, url)
    assert hide("name me not known at h", url) == "name me not known at h"


def test_a_traceback_shows_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of a fault of the program, as the interpreter shows it at the end."""
    url = f"postgresql://me:it's {SECRET}@h/db"
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("sarcast.cli.app", SimpleNamespace(meta=lambda *_, **__: {}[url]))
    with pytest.raises(KeyError) as error:
        main(["cube", url])
    sys.excepthook(error.type, error.value, error.tb)
    shown = capsys.readouterr().err
    assert "KeyError" in shown and "test_15_io_remote.py" in shown
    assert SECRET not in shown


def test_hostile_passwords_are_never_shown(tmp_path: Path) -> None:
    """Through the paths of the command line and the library; more by ``fuzz.fuzz_secrets``."""
    assert leaks(20, 0, tmp_path) == []
