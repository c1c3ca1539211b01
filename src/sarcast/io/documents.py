"""YAML, JSON and XML read within limits: no other module parses them from files.

A small file can expand to much more in memory (aliases in YAML, entities in XML), and nested deeply
enough it exhausts the stack of whatever walks it. Such documents are refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MOST_YAML_BYTES = 4 * 2**20
"""Largest YAML file; a record that names 10 000 inputs has about 1 MB."""
MOST_NODES = 250_000
"""Most values of a YAML document, those of aliases counted wherever they are used."""
LONGEST_PLAIN = 3000
"""Longest text without quotes in YAML, characters: it could be a number."""
MOST_XML_BYTES = 64 * 2**20
"""Largest XML document; annotations of Sentinel-1 products have about 2 MB."""
MOST_DEPTH = 64
"""Deepest nesting of YAML and XML."""

_CHUNK = 2**16


class MalformedError(ValueError):
    """A document cannot be parsed, or exceeds a limit; the reason in one line."""

    def __init__(self, reason: object) -> None:
        super().__init__(" ".join(str(reason).split()))


# --- YAML -----------------------------------------------------------------------------------------


def read_yaml(path: Path) -> Any:
    """Read a YAML file, without tags of Python.

    Raises
    ------
    OSError
        If the file cannot be read.
    MalformedError
        If it is not YAML in UTF-8, or exceeds a limit of this module.
    """
    with path.open("rb") as file:
        content = file.read(MOST_YAML_BYTES + 1)
    if len(content) > MOST_YAML_BYTES:
        raise MalformedError(f"it is larger than {MOST_YAML_BYTES >> 20} MiB")
    try:
        return parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError(error) from error


def parse_yaml(text: str) -> Any:
    """Parse YAML text; as ``read_yaml``."""
    try:
        _check_yaml(yaml.parse(text, _Loader))
        return yaml.load(text, _Loader)
    except MalformedError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise MalformedError(error) from error
    except Exception as error:  # constructors raise many kinds, as for !!int without a number
        raise MalformedError("a value contradicts its tag") from error


def _check_yaml(events: Iterator[yaml.Event]) -> None:
    """Raise if a document is nested too deeply, refers to itself or expands to too many values."""
    count = 0
    opened: list[tuple[str | None, int]] = []
    sizes: dict[str | None, int] = {}
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, start = opened.pop()
            sizes[anchor] = count - start
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in opened):
                raise MalformedError(f"the alias *{event.anchor} contains itself")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            sizes[event.anchor] = 1
            if event.implicit[0] and len(event.value) > LONGEST_PLAIN:
                raise MalformedError(f"a value has {len(event.value)} characters; put it in quotes")
        if len(opened) > MOST_DEPTH:
            raise MalformedError(f"it is nested more than {MOST_DEPTH} deep")
        if count > MOST_NODES:
            raise MalformedError(f"it expands to more than {MOST_NODES} values")


# --- JSON -----------------------------------------------------------------------------------------


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    MalformedError
        If it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MalformedError("it is nested too deeply") from error
    except ValueError as error:
        raise MalformedError(error) from error


# --- XML ------------------------------------------------------------------------------------------


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file; its root.

    Raises
    ------
    OSError
        If the file cannot be read.
    MalformedError
        If it is not XML, has a document type definition (whose entities could expand without
        bound), or exceeds a limit of this module.
    """
    with path.open("rb") as file:
        return parse_xml(file.read(MOST_XML_BYTES + 1))


def parse_xml(content: bytes) -> ElementTree.Element:
    """Parse an XML document; as ``read_xml``."""
    if len(content) > MOST_XML_BYTES:
        raise MalformedError(f"it is larger than {MOST_XML_BYTES >> 20} MiB")
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        for start in range(0, len(content), _CHUNK):
            parser.feed(content[start : start + _CHUNK])
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # of unknown encodings, too
        raise error if isinstance(error, MalformedError) else MalformedError(error) from error
    return root


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree of limited depth."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: Any, attrs: Any) -> Any:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise MalformedError(f"it is nested more than {MOST_DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> Any:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: object) -> None:
        raise MalformedError("it has a document type definition, which is not read")
