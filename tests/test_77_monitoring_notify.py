"""Notifications: CloudEvents that wait in an outbox until they are delivered, none lost."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sarcast.errors import SarcastError
from sarcast.monitoring import notify
from sarcast.monitoring.notify import check_target, deliver, notice, queue, waiting
from sarcast.monitoring.state import Known, Record

WHEN = "2021-06-02T04:51:02Z"


def event(kind: str = "new", number: int = 1, previous: str = "abc") -> dict[str, Any]:
    return notice(kind, number, WHEN, previous, {"id": number, "area_ha": 2.5})


def record(*notices: dict[str, Any], number: int = 3) -> Record:
    return Record(number, (Known(WHEN, "", ""),), {}, 1, WHEN, 0, notices)


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server on this machine that answers with statuses in turn, then with the last."""
    received: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = statuses[min(len(received), len(statuses) - 1)]
            received.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", received
        finally:
            server.shutdown()
            thread.join()


def test_a_notification_is_a_cloudevent() -> None:
    """CloudEvents 1.0.2, section 3.1: id, source, specversion and type are required."""
    found = event()
    assert found["specversion"] == "1.0"
    assert all(isinstance(found[name], str) and found[name] for name in ("id", "source", "type"))
    assert found["type"] == "org.sarcast.event.new"
    assert (found["subject"], found["time"]) == ("event/1", WHEN)
    assert found["datacontenttype"] == "application/json"
    assert found["data"] == {"id": 1, "area_ha": 2.5}


def test_ids_are_repeatable_and_unique() -> None:
    assert event() == event()
    others = [event("confirmed"), event(number=2), event(previous="def")]
    assert len({each["id"] for each in (event(), *others)}) == 4


def test_what_is_queued_is_posted_in_structured_mode(tmp_path: Path) -> None:
    queue(tmp_path, record(event(), event("confirmed")), wanted=True)
    with receiver(204) as (url, received):
        assert deliver(tmp_path, url) == 0
        assert deliver(tmp_path, url) == 0
    assert [body for _, body in received] == [event(), event("confirmed")]
    assert {media for media, _ in received} == {"application/cloudevents+json; charset=utf-8"}
    assert waiting(tmp_path) == []


def test_what_is_refused_is_kept_and_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue(tmp_path, record(event(), event(number=2)), wanted=True)
    with receiver(503, 200) as (url, received):
        assert deliver(tmp_path, url) == 1
        assert "1 notifications were not delivered" in caplog.text
        assert "status 503" in caplog.text
        assert deliver(tmp_path, url) == 0
    assert [body["subject"] for _, body in received] == ["event/1", "event/2", "event/1"]


def test_an_unreachable_server_loses_nothing_and_is_tried_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue(tmp_path, record(event(), event(number=2)), wanted=True)
    with receiver(200) as (url, _):
        pass  # the port is closed again
    assert deliver(tmp_path, url) == 2
    assert len(waiting(tmp_path)) == 2
    assert "sent again by the next run" in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_never_answers_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.2)
    queue(tmp_path, record(event()), wanted=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert deliver(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/") == 1


def test_a_run_delivers_for_a_limited_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "LONGEST_S", -1.0)
    queue(tmp_path, record(event()), wanted=True)
    with receiver(200) as (url, received):
        assert deliver(tmp_path, url) == 1
    assert received == []
    assert "not all went in" in caplog.text


def test_a_state_is_queued_once(tmp_path: Path) -> None:
    queue(tmp_path, record(event()), wanted=True)
    (path,) = waiting(tmp_path)
    path.unlink()
    queue(tmp_path, record(event()), wanted=True)
    assert waiting(tmp_path) == []
    queue(tmp_path, record(event("confirmed"), number=4), wanted=True)
    assert len(waiting(tmp_path)) == 1


def test_nobody_is_told_what_nobody_wanted(tmp_path: Path) -> None:
    queue(tmp_path, record(event()), wanted=False)
    queue(tmp_path, record(event()), wanted=True)
    assert waiting(tmp_path) == []


# --- into a file ----------------------------------------------------------------------------------


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_gets_one_line_each(tmp_path: Path) -> None:
    target = tmp_path / "notes.jsonl"
    target.write_text('{"mine": 1}\n')
    queue(tmp_path, record(event(), event("confirmed")), wanted=True)
    assert deliver(tmp_path, str(target)) == 0
    assert lines(target) == [{"mine": 1}, event(), event("confirmed")]


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_line_that_a_killed_run_began_is_completed(tmp_path: Path, cut: int) -> None:
    target = tmp_path / "notes.jsonl"
    text = json.dumps(event(), sort_keys=True)
    target.write_text('{"mine": 1}\n' + text[:cut])
    queue(tmp_path, record(event(), event("confirmed")), wanted=True)
    deliver(tmp_path, str(target))
    assert lines(target) == [{"mine": 1}, event(), event("confirmed")]


def test_a_line_that_a_killed_run_wrote_is_not_doubled(tmp_path: Path) -> None:
    target = tmp_path / "notes.jsonl"
    target.write_text(json.dumps(event(), sort_keys=True) + "\n")
    queue(tmp_path, record(event()), wanted=True)
    deliver(tmp_path, str(target))
    assert lines(target) == [event()]


def test_a_last_line_of_somebody_else_stays(tmp_path: Path) -> None:
    target = tmp_path / "notes.jsonl"
    target.write_text('{"mine": 1}')
    queue(tmp_path, record(event()), wanted=True)
    deliver(tmp_path, str(target))
    assert lines(target) == [{"mine": 1}, event()]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ftp://example.com/hook", "takes an http:// or https:// URL or a file"),
        ("missing/notes.jsonl", "expected a file in a folder that exists"),
        (".", "expected a file in a folder that exists"),
    ],
)
def test_impossible_targets_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SarcastError, match=message):
        check_target(target)
    check_target("notes.jsonl")
