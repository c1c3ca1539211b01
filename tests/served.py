"""``sarcast view`` in a process of its own, as a browser meets it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0


@contextmanager
def served(*words: object) -> Iterator[str]:
    """Run ``sarcast view`` with some words at a free port, and give the address of its page."""
    command = [sys.executable, "-m", "sarcast.cli", "view", *map(str, words)]
    command += ["--port", "0", "--no-browser"]
    with tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "500"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield _address(process, output)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _address(process: "subprocess.Popen[bytes]", output: "tempfile._TemporaryFileWrapper") -> str:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        output.seek(0)
        text = output.read()
        found = re.search(r"http://\S+", text)
        if found:
            return found.group()
        assert process.poll() is None, f"sarcast view ended:\n{text}"
        time.sleep(0.05)
    raise AssertionError(f"sarcast view gave no address in {PATIENCE_S:.0f} s:\n{text}")


def static_folder() -> Path:
    """Folder of the page's bundle."""
    import sarcast.viewer

    return Path(str(sarcast.viewer.__file__)).parent / "static"
