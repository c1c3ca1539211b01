"""Profiles: what the files of a source hold and where they tell it, declared in YAML.

Profiles of common sources are shipped beside this file, a folder a kind; users add their own.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.errors import UsageError


class Profile(BaseModel):
    """What every profile tells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: ClassVar[str]
    """Where the profiles of the kind are shipped."""

    name: str = Field(description="Name of the profile: that of its file.")
    title: str = Field(description="What the source is, in one line.")
    reference: str = Field("", description="Where the layout is published.")


P = TypeVar("P", bound=Profile)


@cache
def shipped(kind: type[P]) -> tuple[P, ...]:
    """Profiles of a kind that are shipped, in the order of their names."""
    return tuple(read_profile(kind, path) for path in _files(kind).values())


def find_profile(kind: type[P], word: str) -> P:
    """Find a profile by its name or by the path of its YAML file.

    Raises
    ------
    UsageError
        If it is neither, or the file holds no profile of the kind.
    """
    files = _files(kind)
    if word not in files and not Path(word).is_file():
        raise UsageError(
            f"{word!r} is no profile of {kind.folder}: expected a YAML file or one of "
            f"{', '.join(files)}"
        )
    return read_profile(kind, files.get(word, Path(word)))


def _files(kind: type[Profile]) -> dict[str, Path]:
    folder = Path(__file__).parent / kind.folder
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_profile(kind: type[P], path: Path) -> P:
    """Read a profile from YAML; one that ``extends`` another changes only what it names.

    Raises
    ------
    UsageError
        If the file is no YAML, or a field is unknown, missing or of the wrong type.
    """
    content = _mapping(path)
    base = content.pop("extends", None)
    if base is not None:
        told = find_profile(kind, str(base)).model_dump(mode="json", exclude={"name"})
        content = _merged(told, content)
    try:
        return kind(**{"name": path.stem, **content})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is no profile of {kind.folder}: {place}: {first['msg']}"
        ) from None


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{path} holds no profile: expected YAML with fields such as title")
    return content


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged
