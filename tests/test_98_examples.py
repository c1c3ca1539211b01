"""The examples of the docstrings, run in a folder with a small cube; every public name has one."""

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import sarcast
from documents import DOCS, python_blocks
from sarcast.cli import main

SOURCE = Path(sarcast.__file__).parent
_SCENES = shlex.split("--size-km 0.64 --tracks 1 --start 2023-07-01 --end 2024-12-28 --seed 1")
SKETCHES = {"catalogue.protocol", "catalogue.unusable", "prediction.training.scratch"}
"""Modules whose examples use names that the reader has to supply."""


def _with_examples() -> list[str]:
    """Names of the modules that have examples, below ``sarcast``."""
    files = (path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text("utf-8"))
    names = (".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in files)
    return [name.removesuffix(".__init__") for name in names if name not in SKETCHES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what examples name: the folder ``scenes`` and ``area.zarr``."""
    folder = tmp_path_factory.mktemp("examples")
    scenes = folder / "scenes"
    _run("world", scenes, *_SCENES)
    sources = ("--dem", scenes / "dem.tif", "--weather", scenes / "weather.nc")
    _run("cube", scenes, "--to", folder / "area.zarr", *sources)
    return folder


def _run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::UserWarning:sarcast")
@pytest.mark.parametrize("name", _with_examples())
def test_the_examples_of_a_module(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    module = import_module(f"sarcast.{name}")
    result = doctest.testmod(module, extraglobs={"sarcast": sarcast})
    assert result.attempted > 0
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::UserWarning:sarcast")
def test_the_names_of_all_files_are_names_on_windows(folder: Path) -> None:
    """Those of scenes, a cube, a detection and alerts."""
    cube = folder / "area.zarr"
    _run("detect", cube, "--model", "mean", "--to", folder / "named" / "change")
    alerts = folder / "named" / "alerts"
    _run("monitor", cube, "--model", "mean", "--start", "2024-12-01", "--to", alerts)
    names = {path.name for path in folder.rglob("*")}
    assert {"zarr.json", "history.csv", "quicklook.png", "events.gpkg"} <= names
    reserved = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
    assert not [name for name in names if re.search(r'[<>:"|?*\\]|[. ]$', name)]
    assert not [name for name in names if reserved.fullmatch(name)]


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::UserWarning:sarcast")
@pytest.mark.parametrize("page", ["how-to/own-network.md"])
def test_the_python_of_a_page_runs(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All blocks of a page, one after the other, as a reader would type them."""
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    blocks = python_blocks((DOCS / page).read_text(encoding="utf-8"))
    assert len(blocks) > 1
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert "area_ha" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in sarcast.__all__ if name != "__version__"])
def test_every_public_name_has_an_example(name: str) -> None:
    public = getattr(sarcast, name)
    found = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert any(test.examples for test in found)
    assert public.__module__.removeprefix("sarcast.") not in SKETCHES


def test_a_wrong_example_would_be_noticed() -> None:
    (test,) = doctest.DocTestFinder().find(_wrong, globs={})
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1


def _wrong() -> None:
    """Claim what is not so.

    >>> 1 + 1
    3
    """
