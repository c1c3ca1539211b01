"""The README word for word: its commands on a small world, and its Python."""

import shlex
import shutil
from pathlib import Path

import pytest

from documents import ROOT, block_commands, python_blocks
from sarcast.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
_WORLD = shlex.split("--size-km 0.64 --tracks 1 --start 2023-07-01 --end 2024-12-28 --seed 1")


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
    commands = block_commands(OWN_SCENES)[:5]
    assert [words[0] for words in commands] == ["cube", "cube", "detect", "evaluate", "train"]
    for words in commands:
        _run(*words)
    assert (folder / "change" / "events.gpkg").is_file()
    (snippet,) = python_blocks(README)
    names: dict[str, object] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["changed"].dims == ("y", "x")
    assert names["changed"].sizes == names["actual"].isel(band=0).sizes
