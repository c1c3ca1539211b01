"""URLs and connection strings with hostile passwords, given to all that may repeat them.

    python -m fuzz.fuzz_secrets [--number 1000] [--seed 0]

Each password has random words around characters that break parsers; no message, log line, warning
or record may show any of these words. All ports are closed.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
from odc.geo.geobox import GeoBox

from sarcast.catalogue import open_catalogue, open_writable
from sarcast.cli import main as cli
from sarcast.commands.config import Config, write_record
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.fuse import Layer, read_layer
from sarcast.io.remote import RemoteOptions

CLOSED = "127.0.0.1:1"
OPTIONS = RemoteOptions(tries=1, timeout=2.0, pause=0.0)
GRID = GeoBox.from_bbox((0.0, 0.0, 20.0, 20.0), "EPSG:32635", resolution=10.0)
_HOSTILE = "'\"@/#?&=% \\:;<>[]{}()$!,+*~ä"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Rng = np.random.Generator


class Record(Config):
    """Options with a URL, alone and in a list."""

    source: str
    more: tuple[str, ...]


def secret(rng: Rng) -> tuple[str, list[str]]:
    """A password, and the words in it that must not be shown."""
    words = ["".join(rng.choice(list(_LETTERS), 8)) for _ in range(2)]
    middle = "".join(rng.choice(list(_HOSTILE), int(rng.integers(1, 5))))
    return middle.join(words), words


def address(rng: Rng, password: str) -> str:
    """A URL or connection string that contains the password, raw or encoded."""
    encoded = quote(password, safe="")
    given = encoded if rng.integers(2) else password
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    forms = [
        f"postgresql://user:{given}@{CLOSED}/scenes",
        f"postgresql://{CLOSED}/scenes?user=me&password={given}",
        f"https://user:{given}@{CLOSED}/stac",
        f"http://{given}@{CLOSED}/stac",
        f"http://{CLOSED}/stac?key={given}&x=1",
        f"http://{CLOSED}/a.tif?se=2026&sig={given}",
        f"http://{CLOSED}/a.tif?X-Amz-Signature={given}",
        f"host=127.0.0.1 port=1 password='{escaped}' dbname=scenes",
        f"host=127.0.0.1 port=1 password={encoded}",
        f"PGPASSWORD='{escaped}'",
        f"aws_secret_access_key={encoded}",
        f"Authorization: Bearer {encoded}",
    ]
    return forms[rng.integers(len(forms))]


def uses(text: str, folder: Path) -> list[Callable[[], object]]:
    """All that is done with an address, each of which may fail."""
    record = folder / "record"
    record.mkdir(exist_ok=True)
    layer = Layer(text, 1, "dB", "scene")
    return [
        lambda: open_catalogue(text, options=OPTIONS).search(),
        lambda: open_writable(text).add([]),
        lambda: read_layer(layer, GRID, "nearest", OPTIONS),
        lambda: write_record(
            record, "cube", {"catalogue": text}, Record(source=text, more=(text,))
        ),
        lambda: cli(["cube", text, "--to", str(folder / "cube"), "--tries", "1"]),
        lambda: cli(["index", str(folder), "--to", text]),
        lambda: cli(["cube", text, "--unknown", text]),
        lambda: cli(["cube", text, text]),
        lambda: cli(["cube", text, text, "--log", str(folder / "log")]),
        lambda: cli(["cube", str(folder), "--to", str(folder / "cube"), "--area", text]),
        lambda: logging.getLogger("sarcast.fuzz").warning("reading %s failed", _loggable(text)),
    ]


def _loggable(text: str) -> str:
    """The address as another library logs it: a URL with a space in it has no end in a text."""
    return "" if "://" in text and " " in text else text


def shown(text: str, folder: Path) -> str:
    """Everything that the uses of an address say or write."""
    with _captured() as output:
        for use in uses(text, folder):
            try:
                use()
            except (SarcastError, SystemExit) as error:
                output.write(f"{error}\n{json.dumps(str(error))}\n")
    written = (folder / "record" / "run.yaml", folder / "log")
    return output.getvalue() + "".join(path.read_text(encoding="utf-8") for path in written)


@contextmanager
def _captured() -> Iterator[StringIO]:
    output = StringIO()
    with redirect_stderr(output), redirect_stdout(output):
        yield output


def leaks(number: int, seed: int, folder: Path) -> list[tuple[str, str]]:
    """Addresses of which words were shown, with the line that shows one."""
    found = []
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        password, words = secret(rng)
        text = address(rng, password)
        lines = [
            line for line in shown(text, folder).splitlines() if any(word in line for word in words)
        ]
        if lines:
            found.append((text, lines[0]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = leaks(arguments.number, arguments.seed, Path(folder))
    for text, line in found:
        sys.stdout.write(f"{text}\n    {line}\n")
    sys.stdout.write(f"{len(found)} of {arguments.number} addresses shown\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
