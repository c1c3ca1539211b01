"""The README word for word: its commands on a small world, its Python, its flags."""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from cyclopts import MissingArgumentError

from sarcast.cli import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL_CARD = ROOT / "src" / "sarcast" / "weights" / "base" / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), MODEL_CARD, *sorted((ROOT / "docs").glob("*.md"))]
_WORLD = shlex.split("--size-km 0.64 --tracks 1 --start 2023-07-01 --end 2024-12-28 --seed 1")


def _block_commands(text: str) -> list[list[str]]:
    """Commands of the indented blocks of a document, as words."""
    lines = re.findall(r"^    sarcast (.+)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def _inline_commands(text: str) -> list[list[str]]:
    """Commands quoted in the sentences of a document, which may leave out arguments."""
    quoted = re.findall(r"`sarcast\s([a-z][^`]*)`", text)
    words = [shlex.split(line.replace("...", ".")) for line in quoted]
    return [line for line in words if len(line) > 1]


OWN_SCENES = README.split("## Your own scenes")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the README's commands name: SCENES, dem.tif and weather.nc."""
    folder = tmp_path_factory.mktemp("readme")
    _run("world", folder / "SCENES", *_WORLD)
    for name in ("dem.tif", "weather.nc"):
        shutil.copy(folder / "SCENES" / name, folder / name)
    return folder


def _run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code


@pytest.mark.timeout(900)
def test_the_commands_and_the_python_of_the_readme_run_as_they_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the five minutes of adapting are cut short; every word of the README stays."""
    from sarcast.prediction.training import adapt

    monkeypatch.setitem(adapt.ADAPTATION_DEFAULTS, "minutes", 0.02)
    monkeypatch.chdir(folder)
    commands = _block_commands(OWN_SCENES)[:5]
    assert [words[0] for words in commands] == ["cube", "cube", "detect", "evaluate", "train"]
    for words in commands:
        _run(*words)
    assert (folder / "change" / "events.gpkg").is_file()
    (snippet,) = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["changed"].dims == ("y", "x")
    assert names["changed"].sizes == names["actual"].isel(band=0).sizes


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documents_has_flags_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for words in _block_commands(text):
        _parse(words)
    for words in _inline_commands(text):
        with contextlib.suppress(MissingArgumentError):
            _parse(words)


def _parse(words: list[str]) -> None:
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_flag_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        _parse(["cube", "--no-such-flag", "1"])
