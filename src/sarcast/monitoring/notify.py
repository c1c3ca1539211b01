"""Notifications of new, confirmed and finished events, as CloudEvents.

They wait in the folder ``outbox``, one file each, until they are delivered: posted to a URL, or
appended to a file, one JSON line each. What cannot be delivered is tried again at the next run. A
run that is killed between delivery and removal delivers twice; the id is the same, so that the
receiver can drop the second.

References
----------
CloudEvents 1.0.2, sections 3 (attributes) and JSON Event Format 3 (structured content mode).
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from sarcast.errors import SarcastError, without_credentials
from sarcast.io.files import new_file
from sarcast.monitoring.state import Record

_log = logging.getLogger(__name__)

OUTBOX, QUEUED = "outbox", "queued.json"
KINDS = ("new", "confirmed", "finished")
"""What becomes of an event that is notified."""
TYPE = "org.sarcast.event."
TIMEOUT_S = 10.0
LONGEST_S = 60.0
"""Seconds that one notification, and all of a run, may take."""
_MEDIA = "application/cloudevents+json; charset=utf-8"


def notice(kind: str, number: int, when: str, previous: str, data: Mapping[str, Any]) -> Any:
    """Make the CloudEvent of what became of an event.

    Parameters
    ----------
    kind
        Of ``KINDS``.
    number
        Id of the event.
    when
        Time of the acquisition, ISO 8601.
    previous
        Id of the state before, which makes the id of the notification unique and repeatable.
    data
        What is known of the event.
    """
    identity = hashlib.sha256(f"{previous} {when} {number} {kind}".encode()).hexdigest()
    return {
        "specversion": "1.0",
        "id": identity[:32],
        "source": "urn:sarcast:monitor",
        "type": TYPE + kind,
        "subject": f"event/{number}",
        "time": when,
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def queue(alerts: Path, record: Record, *, wanted: bool) -> None:
    """Put the notifications of a state into the outbox, once.

    Parameters
    ----------
    alerts
        The monitoring folder.
    record
        Of the present state.
    wanted
        Whether anybody is notified; otherwise they are only marked as done.
    """
    marker = alerts / OUTBOX / QUEUED
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8"))["state"] == record.id:
        return
    for index, each in enumerate(record.notices if wanted else ()):
        with new_file(alerts / OUTBOX / f"{record.number:06d}-{index:06d}.json") as partial:
            partial.write_text(json.dumps(each, sort_keys=True) + "\n", encoding="utf-8")
    with new_file(marker) as partial:
        partial.write_text(json.dumps({"state": record.id}) + "\n", encoding="utf-8")


def waiting(alerts: Path) -> list[Path]:
    """Notifications in the outbox, the oldest first."""
    folder = alerts / OUTBOX
    return sorted(folder.glob("[0-9]*-[0-9]*.json")) if folder.is_dir() else []


def check_target(target: str) -> None:
    """Raise unless notifications can go to a target.

    Raises
    ------
    SarcastError
        If it is a folder, or a URL of another scheme than http and https.
    """
    if _is_url(target):
        return
    if "://" in target:
        raise SarcastError(f"--notify takes an http:// or https:// URL or a file, not {target}")
    if Path(target).is_dir() or not Path(target).absolute().parent.is_dir():
        raise SarcastError(f"--notify {target}: expected a file in a folder that exists")


def deliver(alerts: Path, target: str) -> int:
    """Deliver what waits, and return how many did not go.

    A server that cannot be reached, or a disk that is full, ends the delivery of this run; a
    notification that is refused stays and the others go on.
    """
    pending = waiting(alerts)
    try:
        reason = _post_all(pending, target) if _is_url(target) else _append_all(pending, target)
    except (requests.RequestException, OSError) as error:
        reason = " ".join(str(error).split())
    left = len(waiting(alerts))
    if left:
        line = (
            f"{left} notifications were not delivered to {target} ({reason}): they are kept in "
            f"{alerts / OUTBOX} and sent again by the next run"
        )
        _log.warning(without_credentials(line))
    return left


def _post_all(pending: Sequence[Path], url: str) -> str:
    """Post notifications, and return why some were not taken."""
    reason = ""
    start = time.monotonic()
    for path in pending:
        if time.monotonic() - start > LONGEST_S:
            return f"not all went in {LONGEST_S:g} s"
        headers = {"Content-Type": _MEDIA}
        # an answer that never ends is not read
        with requests.post(
            url, data=path.read_bytes(), headers=headers, timeout=TIMEOUT_S, stream=True
        ) as answer:
            if answer.ok:
                path.unlink()
            else:
                reason = f"status {answer.status_code}"
    return reason


def _append_all(pending: Sequence[Path], target: str) -> str:
    """Append notifications that a file lacks, and complete a line that a killed run began."""
    lines = [path.read_bytes() for path in pending]
    path = Path(target)
    text = path.read_bytes() if path.exists() else b""
    known = set(text.splitlines(keepends=True))
    rest = text[text.rfind(b"\n") + 1 :]
    missing = [line for line in lines if line not in known]
    begun = bool(rest) and any(line.startswith(rest) for line in missing)
    with path.open("r+b" if path.exists() else "xb") as file:
        file.seek(len(text) - len(rest) if begun else len(text))
        file.write(b"".join([b"\n"] * bool(rest and not begun) + missing))
        file.flush()
        os.fsync(file.fileno())
    for each in pending:
        each.unlink()
    return ""


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))
