"""All documents: their commands and flags exist, their Python runs, packaging says what is so."""

import contextlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import MissingArgumentError

from documents import (
    DOCS,
    DOCUMENTS,
    ROOT,
    block_commands,
    inline_commands,
    inline_flags,
    python_blocks,
    python_cells,
)
from sarcast.cli import VERBS, app

OTHERS = {"--build-arg", "--index-url", "--only", "--services"}
"""Flags of other programs and of benchmarks that the documents quote."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_identify)
def test_every_command_in_the_documents_has_flags_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for words in block_commands(text):
        _parse(words)
    for words in inline_commands(text):
        with contextlib.suppress(MissingArgumentError):
            _parse(words)


def _parse(words: list[str]) -> None:
    shared = {"--quiet": 1, "--config": 2, "--log": 2}
    for flag, count in shared.items():
        if flag in words:
            index = words.index(flag)
            words = words[:index] + words[index + count :]
            if flag == "--config":
                with contextlib.suppress(MissingArgumentError):
                    app.parse_args(words, exit_on_error=False, print_error=False)
                return
    if words and words[0] != "--version":
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_flag_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        _parse(["cube", "--no-such-flag", "1"])


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = "\n".join(
        [
            "    A=1 sarcast cube a --to b && env/bin/sarcast --quiet detect \\",
            "        b --to c",
            "1. item:",
            "",
            "       sarcast index d",
            "```sh",
            "sarcast world e",
            "```",
            "```python",
            "sarcast predict f",
            "```",
            "ExecStart, sarcast train g",
            "```{code-cell} ipython3",
            "%%sh",
            "sarcast view \\",
            "    h",
            "```",
            "```{code-cell} ipython3",
            ":tags: [hide-input]",
            "",
            "sarcast = 1",
            "```",
        ]
    )
    expected = ["cube a --to b", "detect b --to c", "index d", "world e", "view h"]
    assert [" ".join(words) for words in block_commands(text)] == expected


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """All flags of all verbs."""
    names = [[verb] for verb in VERBS] + [["tfrecord", verb] for verb in ("import", "export")]
    plain = app.default_parameter
    verbs = [*(_descend(words) for words in names), app.meta]
    found = (verb.assemble_argument_collection(default_parameter=plain) for verb in verbs)
    return {name for each in found for option in each for name in option.names if name[:2] == "--"}


def _descend(words: list[str]) -> Any:
    verb: Any = app
    for word in words:
        verb = verb[word]
    return verb


@pytest.mark.parametrize("path", DOCUMENTS, ids=_identify)
def test_every_flag_in_the_sentences_exists(path: Path, flags: set[str]) -> None:
    if path.name == "CHANGELOG.md":
        pytest.skip("names flags of earlier versions")
    assert "--false-events" in flags
    quoted = inline_flags(path.read_text(encoding="utf-8"))
    assert not quoted - flags - OTHERS - {"--help", "--version"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_identify)
def test_the_python_of_the_pages_compiles(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in [*python_blocks(text), *python_cells(text)]:
        compile(block, str(path), "exec")


NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.md"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_identify)
def test_notebooks_are_listed_and_write_into_a_temporary_folder(path: Path) -> None:
    """Their cells are run by the build of the site, which they must leave as it was."""
    text = path.read_text(encoding="utf-8")
    if path.stem == "index":
        listed = re.findall(
            r"^[a-z-]+$", text.split("```{toctree}")[1].split("```")[0], re.MULTILINE
        )
        assert sorted(listed) == [each.stem for each in NOTEBOOKS if each != path]
        return
    assert text.startswith("---\nfile_format: mystnb\n")
    assert "tempfile.TemporaryDirectory()" in python_cells(text)[0]
    assert "os.chdir(folder.name)" in python_cells(text)[0]
    assert not re.search(r"^import sarcast\._|^from sarcast[\w.]* import _", text, re.MULTILINE)


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


# --- the extensions of the site -------------------------------------------------------------------


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the site's own extensions importable; skipped where Sphinx is not installed."""
    pytest.importorskip("sphinx", reason="needs the extra docs: make docs")
    monkeypatch.setattr(sys, "path", [str(DOCS / "extensions"), *sys.path])


@pytest.mark.usefixtures("extensions")
def test_the_reference_of_the_command_line_has_every_verb_and_flag(flags: set[str]) -> None:
    from command_line import reference

    text = "".join(reference())
    for verb in VERBS:
        assert f"## sarcast {verb}\n" in text
    for flag in flags - {"--help", "--version"}:
        assert re.search(rf"`[^`]*{re.escape(flag)}\b", text), flag
    for flag in ("--config", "--log", "--quiet"):
        assert text.count(f"`{flag}") == 1


@pytest.mark.usefixtures("extensions")
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    from inside_links import broken_links

    (tmp_path / "b.html").write_text("<h1 id='there'></h1><img src='a.png'>")
    (tmp_path / "a.html").write_text(
        "<a href='b.html#there'></a><a href='b.html#gone'></a><a href='c.html'></a>"
        "<a href='https://example.org/x'></a><a href='#'></a>"
    )
    assert set(broken_links(tmp_path)) == {
        ("a.html", "b.html#gone"),
        ("a.html", "c.html"),
        ("b.html", "a.png"),
    }


@pytest.mark.usefixtures("extensions")
def test_what_a_page_loads_from_another_server_is_found(tmp_path: Path) -> None:
    from outside_resources import outside_resources

    (tmp_path / "a.html").write_text(
        "<link rel='canonical' href='https://example.org/'><link rel='stylesheet' href='a.css'>"
        "<link rel='stylesheet' href='https://example.org/a.css'>"
        "<script src='//example.org/a.js'></script><script src='a.js'></script>"
        "<style>@import 'https://example.org/b.css';</style>"
        "<p style='background: url(http://example.org/a.png)'>"
        "<a href='https://example.org/'>https://example.org/c.js</a></p>"
        "<img src='data:image/png;base64,AA=='><iframe src='https://example.org/map'></iframe>"
    )
    (tmp_path / "a.css").write_text(
        '@font-face { src: url("https://example.org/a.woff2"), url("../fonts/b.woff2") }'
    )
    assert list(outside_resources(tmp_path)) == [
        ("a.css", "https://example.org/a.woff2"),
        ("a.html", "//example.org/a.js"),
        ("a.html", "http://example.org/a.png"),
        ("a.html", "https://example.org/a.css"),
        ("a.html", "https://example.org/b.css"),
        ("a.html", "https://example.org/map"),
    ]


@pytest.mark.usefixtures("extensions")
def test_a_site_of_formulas_loads_nothing_and_has_mathml(tmp_path: Path) -> None:
    """Built as the real one is, whose build fails if a page of it loads something."""
    from outside_resources import outside_resources

    pages, site = tmp_path / "pages", tmp_path / "site"
    pages.mkdir()
    formula = r"$$ z = \frac{\text{actual} - \text{expected}}{\sigma} $$"
    (pages / "index.md").write_text(f"# Formulas\n\n{formula}\n\nwith $\\sigma < 1$ dB.\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", DOCS, "-b", "html", pages, site]
    subprocess.run(command, check=True)
    text = (site / "index.html").read_text(encoding="utf-8")
    assert text.count("<math ") == 2 and "<mfrac>" in text
    assert "<mi>σ</mi>" in text and "<mo>&lt;</mo>" in text
    assert not list(outside_resources(site))


# --- packaging ------------------------------------------------------------------------------------


def test_the_container_is_slim_and_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line[:1].isupper()]
    assert all("slim" in line[1] for line in words if line[0] == "FROM")
    users = [line[1] for line in words if line[0] == "USER"]
    assert users and users[-1] not in ("root", "0")
    assert [line[0] for line in words].index("USER") < [line[0] for line in words].index(
        "ENTRYPOINT"
    )


def test_the_conda_recipe_has_the_dependencies_of_the_package() -> None:
    text = (ROOT / "recipes" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(re.sub(r"{%.*?%}\n", "", text).replace("{{ version }}", "0"))
    run = {_name(line): _range(line) for line in recipe["requirements"]["run"]}
    names = {"torch": "pytorch", "dask": "dask", "pint": "pint"}
    expected = {
        names.get(_name(line), _name(line)): _range(line) for line in PROJECT["dependencies"]
    }
    assert run.pop("python") == ">=3.11"
    assert run.pop("distributed") == expected["dask"]
    assert run == expected
    assert recipe["test"]["commands"][0] == "sarcast --version"


def _name(requirement: str) -> str:
    return re.split(r"[\[\s>=<]", requirement)[0].lower().replace("_", "-")


def _range(requirement: str) -> str:
    found = re.search(r"[<>=].*", requirement)
    return found[0] if found else ""
