"""The layers of the package: which room may import which, and how light the import is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sarcast
from sarcast import cli

LAYERS = [
    ["errors", "arrays", "cache", "lazy"],
    ["sensor"],
    ["io"],
    ["catalogue.scene"],
    ["catalogue"],
    ["speckle"],
    ["ingest"],
    ["cube"],
    ["windows.window", "windows.batch"],
    ["world"],
    ["windows"],
    ["tfrecord"],
    ["prediction.networks"],
    ["prediction"],
    ["prediction.training"],
    ["detection"],
    ["monitoring"],
    ["evaluation.metrics"],
    ["evaluation.simulation"],
    ["evaluation.report"],
    ["evaluation"],
    ["viewer"],
    ["api", "diagnosis"],
    ["commands"],
    ["cli"],
]
"""Rooms from the ground up; a room imports from lower layers and from its own."""

SOURCE = Path(sarcast.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def layer(module: str) -> int:
    """Height of the innermost room that a module lies in."""
    heights = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (room := ".".join(parts[:length])) in heights:
            return heights[room]
    raise AssertionError(
        f"{module} has no layer: add it to LAYERS and to docs/explanation/architecture.md"
    )


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    rooms = {name.removeprefix("sarcast.") for name in found if name.startswith("sarcast.")}
    return {room for room in rooms if is_module(room)}


def is_module(room: str) -> bool:
    path = SOURCE.joinpath(*room.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_from_lower_rooms(path: Path) -> None:
    own = name_of(path)
    above = {room for room in imported(path) if layer(room) > layer(own)}
    assert not above


def test_the_layers_test_sees_an_upward_import(tmp_path: Path) -> None:
    module = tmp_path / "units.py"
    module.write_text("from sarcast.cube import open_cube\n")
    assert {layer(room) > layer("sensor.units") for room in imported(module)} == {True}


VERBS = [path for path in MODULES if path.parent.name == "commands" and path.stem in cli.VERBS]


@pytest.mark.parametrize(
    "path", [path for path in VERBS if path.stem != "demo"], ids=lambda path: path.stem
)
def test_a_verb_imports_no_other_verb(path: Path) -> None:
    """The demo alone runs other verbs."""
    verbs = {f"commands.{other.stem}" for other in VERBS}
    assert not (imported(path) & verbs) - {name_of(path)}


def test_every_room_is_in_the_architecture() -> None:
    text = (SOURCE.parents[1] / "docs" / "explanation" / "architecture.md").read_text()
    rooms = {path.relative_to(SOURCE).parts[0] for path in MODULES}
    missing = {
        r for r in rooms if r not in text and f"{r}/" not in text and f"`{r[:-3]}`" not in text
    }
    assert not missing


def test_import_is_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import sarcast; "
        "print(time.perf_counter() - start); print(*sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds = min(float(run.stdout.split("\n")[0]) for run in runs)
    loaded = {name.split(".")[0] for name in runs[0].stdout.split("\n")[1].split()}
    assert not loaded & {"torch", "dask", "matplotlib", "psycopg", "psycopg2", "numpy", "xarray"}
    assert seconds < 0.3


def test_public_names_can_be_had() -> None:
    for name in sarcast.__all__:
        assert getattr(sarcast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sarcast.nothing
