"""Mutations that the kinds of input share: of bytes, of trees as in JSON, of XML and of TIFF."""

import copy
import json
import struct
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

Rng = np.random.Generator

NASTY_BYTES = [
    b"\x00" * 16,
    b"\xff" * 8,
    bytes([0xFF]) * 9 + b"\x01",
    bytes([0x80]) * 12,
    struct.pack("<Q", 1 << 63),
    struct.pack("<Q", (1 << 63) - 1),
    struct.pack("<I", 0xFFFFFFFF),
    struct.pack("<I", 0x7FFFFFFF),
    struct.pack("<H", 0xFFFF),
    struct.pack("<d", float("nan")),
    struct.pack("<d", float("inf")),
    struct.pack("<f", -1e38),
    b"\xc3\x28",
    b"\n\n",
    b"{[\"'",
    b"../../../",
]
"""Byte strings that are likely to break lengths, numbers and text."""

DEEP = "@deep:"
"""Text that ``as_text`` replaces by lists in lists, which no encoder would write."""

NASTY_TEXT = [
    "", " ", "null", "nan", "NaN", "inf", "-1", "0", "1e400", "9" * 40, "8a", "\x00", "a\nb\rc",
    "\ud800", "ä" * 300, "x" * 100_000, "../../../escaped", "/etc/passwd", "file:///etc/passwd",
    "http://127.0.0.1:9/x.tif", "s3://bucket/key", "/vsicurl/http://127.0.0.1:9/x.tif",
    "<VRTDataset rasterXSize='1' rasterYSize='1'/>", "<script>", "%s%n{0}{x}", "[bold]red[/bold]",
    "[/]", "EPSG:0", "EPSG:999999", "EPSG:4326", "2020-13-45T99:99:99Z", "0000-00-00", "9999-12-31",
    "10000-01-01", "P1D", "True", "NaT", "VV", "vv", "dB", "http://[::1", "~", "-", "*", "a/b.tif",
]  # fmt: skip
NASTY_NUMBERS = [
    0, -1, 1, 2, 255, 256, 65_536, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, 2**64,
    -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-300, 1e20, 1e308, -1e308, float("nan"), float("inf"),
    -float("inf"), 180.0, -180.0, 360.0, 90.0, 91.0, 1e6,
]  # fmt: skip


def nasty(rng: Rng) -> Any:
    """A value of any type, seldom a large one."""
    kind = rng.integers(12)
    if kind < 4:
        return NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))]
    if kind < 8:
        return NASTY_TEXT[rng.integers(len(NASTY_TEXT))]
    if kind == 8:
        return f"{DEEP}{[10, 200, 1200, 5_000, 60_000][rng.integers(5)]}"
    simple = [None, True, False, [], {}, [None], {"": None}, [[]], [0, "a"], {"a": {"b": []}}]
    return copy.deepcopy(simple[rng.integers(len(simple))])


# --- bytes ----------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng: Rng, most: int = 4) -> bytes:
    """Make a few mutations: flip, overwrite, insert, delete, repeat, splice, zero, truncate."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, most + 1))):
        _mutate_once(changed, rng)
    return bytes(changed)


def _mutate_once(data: bytearray, rng: Rng) -> None:
    at = int(rng.integers(len(data) + 1))
    length = int(rng.integers(1, 64)) if rng.random() < 0.8 else int(rng.integers(1, 4096))
    kind = int(rng.integers(10))
    other = int(rng.integers(len(data) + 1))
    piece = NASTY_BYTES[rng.integers(len(NASTY_BYTES))]
    if kind < 3 and at < len(data):
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 3 and at < len(data):
        data[at] = int(rng.integers(256))
    elif kind == 4:
        data[at : at + len(piece)] = piece
    elif kind == 5:
        data[at:at] = piece
    elif kind == 6:
        del data[at : at + length]
    elif kind == 7:
        data[at:at] = data[other : other + length]
    elif kind == 8:
        end = min(len(data), at + length)
        data[at:end] = bytes(end - at)
    elif kind == 9 and rng.integers(3) == 0:
        del data[at:]


# --- trees ----------------------------------------------------------------------------------------


def mutate_tree(tree: Any, rng: Rng, most: int = 3) -> Any:
    """Change a node or a few of nested dicts and lists; the tree itself stays as it is."""
    changed = copy.deepcopy(tree)
    for _ in range(1 if rng.integers(2) else int(rng.integers(1, most + 1))):
        slots = list(_slots(changed))
        if not slots:
            return nasty(rng)
        parent, key = slots[rng.integers(len(slots))]
        _change(parent, key, slots, rng)
    return changed


def _slots(tree: Any) -> list[tuple[Any, Any]]:
    """Every node below the root, as its parent and its key."""
    found, stack = [], [tree]
    while stack:
        node = stack.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                stack.append(node[key])
    return found


def _change(parent: Any, key: Any, slots: Sequence[tuple[Any, Any]], rng: Rng) -> None:
    kind, value = int(rng.integers(9)), parent[key]
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[str(NASTY_TEXT[rng.integers(len(NASTY_TEXT))])] = parent.pop(key)
    elif kind == 1:
        parent.insert(key, copy.deepcopy(value))
    elif kind == 2:
        parent[key] = [value]
    elif kind == 3:
        other, name = slots[rng.integers(len(slots))]
        parent[key] = copy.deepcopy(other[name])
    elif kind == 4 and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = [str(value), -value, value * 1e9, value + 0.5, [value]][rng.integers(5)]
    elif kind == 4 and isinstance(value, str):
        parent[key] = [value.upper(), value[:-1], value * 2, value + "\n", [value]][rng.integers(5)]
    elif kind == 4 and isinstance(value, list):
        parent[key] = [value[:-1], value * 2, value[::-1], [], dict.fromkeys(map(str, value))][
            rng.integers(5)
        ]
    else:
        parent[key] = nasty(rng)


def as_json(tree: Any, rng: Rng) -> bytes:
    """Encode a tree; one in eight is damaged as text, too."""
    data = _deepened(json.dumps(tree), "[", "]")
    return _damaged(data, rng)


def as_yaml(tree: Any, rng: Rng) -> bytes:
    """Encode a tree; some get what only YAML has, and some are damaged as text."""
    try:
        text = yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        text = json.dumps(tree, default=str)
    kind = rng.integers(4 * len(_YAML))
    if kind < len(_YAML):
        text = _YAML[kind](text)
    return _damaged(_deepened(text, "[", "]"), rng)


_YAML = [
    lambda text: text + "\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 10)}]\n" for i in range(9)
    ),
    lambda text: text + "\nself: &self [*self]\n",
    lambda text: "--- !!python/object/apply:os.system [true]\n" + text,
    lambda text: text + "\n---\n" + text,
    lambda text: text + text,
    lambda text: text.replace(":", ":\t", 1),
    lambda text: text + "\n<<: *nothing\n",
    lambda text: text.replace(": ", ": !!timestamp ", 1),
]  # fmt: skip


def _deepened(text: str, opening: str, closing: str) -> bytes:
    """Replace each mark of depth by brackets in brackets."""
    parts = text.split(DEEP)
    built = parts[0].rstrip("\"'") if len(parts) > 1 else parts[0]
    for number, part in enumerate(parts[1:], start=1):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        depth = int(digits or 1)
        rest = part[len(digits) :].removeprefix('"').removeprefix("'")
        built += opening * depth + closing * depth
        built += rest.rstrip("\"'") if number < len(parts) - 1 else rest
    return built.encode("utf-8", "surrogatepass")


def _damaged(data: bytes, rng: Rng) -> bytes:
    return mutate_bytes(data, rng, 2) if rng.integers(8) == 0 else data


# --- XML ------------------------------------------------------------------------------------------

_ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
    )
    + b'<!ENTITY file SYSTEM "file:///etc/passwd">]>'
)  # fmt: skip


def mutate_xml(data: bytes, rng: Rng) -> bytes:
    """Change elements, or the text itself."""
    kind = rng.integers(6)
    if kind == 0:
        return mutate_bytes(data, rng)
    tree = ElementTree.fromstring(data)
    for _ in range(int(rng.integers(1, 4))):
        _mutate_element(tree, rng)
    encoded = ElementTree.tostring(tree)
    if kind == 1:
        at = encoded.find(b">", int(rng.integers(len(encoded)))) + 1
        entity = [b"&j;", b"&file;", b"&a;"][rng.integers(3)]
        return _ENTITIES + encoded[:at] + entity + encoded[at:]
    if kind == 2:
        depth = int([100, 5_000, 100_000][rng.integers(3)])
        at = encoded.find(b">", int(rng.integers(len(encoded)))) + 1
        return encoded[:at] + b"<a>" * depth + b"</a>" * depth + encoded[at:]
    return encoded


def _mutate_element(tree: ElementTree.Element, rng: Rng) -> None:
    parents = [element for element in tree.iter() if len(element)]
    if not parents:
        return
    parent = parents[rng.integers(len(parents))]
    index = int(rng.integers(len(parent)))
    child, kind = parent[index], int(rng.integers(7))
    if kind == 0:
        parent.remove(child)
    elif kind == 1:
        parent.insert(index, copy.deepcopy(child))
    elif kind == 2:
        child.tag = "x"
    elif kind == 3 and child.attrib:
        name = sorted(child.attrib)[rng.integers(len(child.attrib))]
        child.set(name, _xml_text(rng))
    elif kind == 4:
        parent.extend(copy.deepcopy(list(parents[rng.integers(len(parents))]))[:50])
    else:
        leaves = [element for element in tree.iter() if not len(element)]
        leaf = leaves[rng.integers(len(leaves))]
        if leaf.attrib and rng.integers(3) == 0:
            name = sorted(leaf.attrib)[rng.integers(len(leaf.attrib))]
            leaf.set(name, _xml_text(rng))
        else:
            leaf.text = _xml_text(rng)


def _xml_text(rng: Rng) -> str:
    text = str(NASTY_TEXT[rng.integers(len(NASTY_TEXT))])
    if rng.integers(2):
        number = NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))]
        text = str(number)
    return "".join(char for char in text if char >= " " and not "\ud800" <= char <= "\udfff")


# --- TIFF -----------------------------------------------------------------------------------------


def mutate_tiff(data: bytes, rng: Rng) -> bytes:
    """Change entries of the first directory of a classic TIFF, or any bytes."""
    if rng.integers(3) == 0 or data[:4] != b"II*\x00":
        return mutate_bytes(data, rng)
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", changed, 4)
    (count,) = struct.unpack_from("<H", changed, start)
    for _ in range(int(rng.integers(1, 4))):
        entry = start + 2 + 12 * int(rng.integers(count))
        _mutate_entry(changed, entry, rng)
    return bytes(changed)


_TAGS = [
    256, 257, 258, 259, 262, 273, 277, 279, 284, 317, 322, 323, 324, 325, 338, 339, 33550, 33922,
    34264, 34735, 34736, 34737, 42112, 42113,
]  # fmt: skip


def _mutate_entry(data: bytearray, entry: int, rng: Rng) -> None:
    tag, kind, count, value = struct.unpack_from("<HHII", data, entry)
    numbers = [0, 1, 2, 3, 255, 65_535, 40_000, 1_000_000, 2**31 - 1, 2**31, 2**32 - 1]
    number = int(numbers[rng.integers(len(numbers))])
    where = int(rng.integers(5))
    if where == 0:
        tag = int(_TAGS[rng.integers(len(_TAGS))])
    elif where == 1:
        kind = int(rng.integers(0, 20))
    elif where == 2:
        count = number
    elif where == 3 or count * 8 > len(data) or value >= len(data):
        value = number
    else:  # the values that the entry points to
        piece = NASTY_BYTES[rng.integers(len(NASTY_BYTES))]
        at = value + int(rng.integers(max(1, count)))
        data[at : at + len(piece)] = piece
        return
    struct.pack_into("<HHII", data, entry, tag, kind, count, value)
