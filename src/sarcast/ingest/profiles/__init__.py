"""Profiles: YAML files that describe the layout of a source.

Profiles of common sources are shipped beside this file, one folder a kind; users can add more.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.errors import UsageError
from sarcast.io.documents import read_yaml


class Profile(BaseModel):
    """Fields that all profiles share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: ClassVar[str]
    """Folder of the shipped profiles of this kind."""

    name: str = Field(description="Name of the profile; default: the name of its file.")
    title: str = Field(description="Description of the source in one line.")
    reference: str = Field("", description="Publication of the layout.")


P = TypeVar("P", bound=Profile)


@cache
def shipped(kind: type[P]) -> tuple[P, ...]:
    """All shipped profiles of a kind, sorted by name."""
    return tuple(read_profile(kind, path) for path in _files(kind).values())


def find_profile(kind: type[P], name_or_path: str) -> P:
    """Find a shipped profile by name, or read one from a YAML file; as ``read_profile``.

    Raises
    ------
    UsageError
        If it is neither, or the file is not a valid profile of the kind.
    """
    return read_profile(kind, _path_of(kind, name_or_path))


def _path_of(kind: type[Profile], name_or_path: str) -> Path:
    files = _files(kind)
    if name_or_path not in files and not Path(name_or_path).is_file():
        raise UsageError(
            f"there is no {kind.folder} profile {name_or_path!r}: expected a YAML file or one of "
            f"{', '.join(files)}"
        )
    return files.get(name_or_path, Path(name_or_path))


def _files(kind: type[Profile]) -> dict[str, Path]:
    folder = Path(__file__).parent / kind.folder
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_profile(kind: type[P], path: Path) -> P:
    """Read a profile from YAML; ``extends: NAME`` starts from the fields of another profile.

    Raises
    ------
    UsageError
        If the file is not YAML, extends itself, or a field is unknown, missing or of the wrong
        type.
    """
    return _read_profile(kind, path, ())


def _read_profile(kind: type[P], path: Path, extended: tuple[Path, ...]) -> P:
    """As ``read_profile``; ``extended`` are the profiles that start from this one."""
    if path.resolve() in extended:
        raise UsageError(f"{path} extends itself; let extends name another profile")
    content = _read_mapping(path)
    base = content.pop("extends", None)
    if base is not None:
        below = _read_profile(kind, _path_of(kind, str(base)), (*extended, path.resolve()))
        content = _merged(below.model_dump(mode="json", exclude={"name"}), content)
    try:
        return kind(**{"name": path.stem, **content})
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is not a valid {kind.folder} profile: {location}: {first['msg']}"
        ) from None


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{path} is not a profile: expected YAML with fields such as title")
    return content


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if nested else value
    return merged
