"""Documents that are hostile or damaged: refused in one line, in bounded time and memory."""

import ast
import time
from pathlib import Path

import pytest
import yaml

import sarcast
from sarcast.cli import main
from sarcast.errors import SarcastError
from sarcast.ingest.profiles import read_profile
from sarcast.ingest.scenes.profile import SceneProfile
from sarcast.io import documents
from sarcast.io.documents import MalformedError, parse_json, parse_xml, parse_yaml, read_yaml
from sarcast.prediction.training.recipe import read_recipe

SOURCE = Path(sarcast.__file__).parent


def aliases(levels: int) -> str:
    """YAML of a few kB that expands to 10 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


def merges(levels: int) -> str:
    """YAML whose merged mappings double at each level."""
    lines = ["m0: &m0 {a: 1}"]
    for level in range(1, levels):
        lines.append(f"m{level}: &m{level} {{<<: [*m{level - 1}, *m{level - 1}]}}")
    return "\n".join(lines)


HOSTILE_YAML = {
    "aliases": (aliases(12), "expands to more than"),
    "merges": (merges(60), "expands to more than"),
    "alias of itself": ("a: &a [1, *a]", r"alias \*a contains itself"),
    "flow nesting": ("[" * 5000, "nested more than"),
    "block nesting": ("- " * 5000, "nested more than"),
    "number of base 60": ("a: " + "1:2:" * 100_000 + "1", "characters"),
    "number of many digits": ("a: " + "9" * 2_900_000, "characters"),
    "tag without a value": ("a: !!int ''", "contradicts its tag"),
    "month 13": ("a: 2001-13-01", "month must be in"),
    "python": ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "control character": ("a: \0", "not allowed"),
}


@pytest.mark.parametrize(("text", "reason"), HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_hostile_yaml_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(MalformedError, match=reason) as caught:
        read_yaml(tmp_path / "x.yaml")
    assert time.process_time() - start < 2.0
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_yaml_beyond_the_largest_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("#" * (documents.MOST_YAML_BYTES + 1))
    with pytest.raises(MalformedError, match="larger than 4 MiB"):
        read_yaml(tmp_path / "x.yaml")


def test_plain_yaml_is_read_as_by_pyyaml() -> None:
    text = (
        "a: &a {b: [1, 2.5, x, null, yes]}\nc: *a\nd: {<<: *a, e: 2020-01-02}\n'f': \"\\u00e9\"\n"
    )
    assert parse_yaml(text) == yaml.safe_load(text)
    card = SOURCE / "weights" / "base" / "model.yaml"
    assert read_yaml(card) == yaml.safe_load(card.read_text())


def test_values_of_the_limits_pass_and_one_more_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_NODES", 8)  # two lists, the key x, the scalars
    text = "- &a [1, 2]\n- *a\n- 5\n"
    assert parse_yaml(text) == [[1, 2], [1, 2], 5]
    with pytest.raises(MalformedError, match="more than 8 values"):
        parse_yaml(text + "- 6\n")
    monkeypatch.setattr(documents, "MOST_DEPTH", 3)
    assert parse_yaml("[[[1]]]") == [[[1]]]
    with pytest.raises(MalformedError, match="more than 3 deep"):
        parse_yaml("[[[[1]]]]")


def test_json_nested_too_deeply_is_refused() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    for text in ("[" * 200_000, "{", "1" * 5000):
        with pytest.raises(MalformedError):
            parse_json(text)


HOSTILE_XML = {
    "entities": (
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>',
        "document type definition",
    ),
    "external entity": (
        b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>',
        "document type definition",
    ),
    "nesting": (b"<a>" * 1_000_000, "nested more than"),
    "truncated": (b"<a><b/>", "no element found"),
    "unknown encoding": (b'<?xml version="1.0" encoding="x-none"?><a/>', "unknown encoding"),
    "large": (b" " * (documents.MOST_XML_BYTES + 1), "larger than 64 MiB"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE_XML.values(), ids=HOSTILE_XML)
def test_hostile_xml_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_xml(content)


def test_plain_xml_is_read() -> None:
    root = parse_xml(b"<a><b>1</b><b>2</b></a>")
    assert [each.text for each in root.iterfind("b")] == ["1", "2"]


# --- nobody else parses ---------------------------------------------------------------------------

PARSERS = {
    "yaml": {"load", "safe_load", "full_load", "unsafe_load", "load_all", "safe_load_all"},
    "config": {"Yaml"},
    "ElementTree": {"parse", "fromstring", "XML", "iterparse"},
    "ET": {"parse", "fromstring", "XML", "iterparse"},
}


def parsers_called(path: Path) -> set[str]:
    nodes = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
    ]
    return {
        f"{ast.unparse(node.value)}.{node.attr}"
        for node in nodes
        if node.attr in PARSERS.get(ast.unparse(node.value).rpartition(".")[2], ())
    }


def test_only_one_module_parses_yaml_and_xml(tmp_path: Path) -> None:
    calls = {path.name: parsers_called(path) for path in SOURCE.rglob("*.py")}
    assert calls.pop("documents.py") == {"yaml.load"}
    assert {name: found for name, found in calls.items() if found} == {}
    other = tmp_path / "other.py"
    other.write_text("yaml.safe_load(x)\ncyclopts.config.Yaml(x)\nET.parse(x)\n")
    assert len(parsers_called(other)) == 3


# --- where users meet it --------------------------------------------------------------------------


def test_a_bomb_as_config_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(f"index: {{}}\n{aliases(12)}")
    with pytest.raises(SystemExit, match="2"):
        main(["index", "--config", str(tmp_path / "x.yaml")])
    error = capsys.readouterr().err
    assert "x.yaml is not valid YAML: it expands to more than" in error
    assert error.count("\n") == 1 and len(error) < 1000


def test_a_bomb_as_recipe_or_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(aliases(12))
    with pytest.raises(SarcastError, match="is not valid YAML: it expands"):
        read_recipe(tmp_path / "x.yaml")
    with pytest.raises(SarcastError, match="cannot be read as YAML: it expands"):
        read_profile(SceneProfile, tmp_path / "x.yaml")


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"extends: {second}\n")
    second.write_text(f"extends: {first}\n")
    with pytest.raises(SarcastError, match=r"first.yaml extends itself"):
        read_profile(SceneProfile, first)
