"""One definition gives the flags of a verb, its YAML and the record beside its result.

The options of a verb are a pydantic model beside its function in ``workflows``, composed of the
options that lie beside the algorithms. YAML is flat: its keys are the names of the flags.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from sarcast.errors import UsageError

FLAT = Parameter(name="*")
"""Marks options whose fields are flags of the verb itself."""


class Config(BaseModel):
    """Options of a verb."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def write_yaml(config: BaseModel, path: Path, inputs: Mapping[str, Any]) -> None:
    """Write resolved options as commented YAML that ``--config`` reads.

    Parameters
    ----------
    config
        Options of a verb, or of an algorithm.
    path
        The file.
    inputs
        What the verb was given besides its options, by argument name.
    """
    lines = [_entry(name, value) for name, value in inputs.items()]
    for name, field, value in flat(config):
        if value is not None:
            lines += [f"# {field.description}", _entry(name, value)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def flat(config: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Give name, field and value of every key of a verb's options."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if FLAT in field.metadata:
            yield from flat(value)
        else:
            yield name, field, value


def read_settings(settings: tuple[str, ...]) -> dict[str, str]:
    """Read ``NAME=VALUE`` words.

    Raises
    ------
    UsageError
        If a word has no name or no value, or a name comes twice.
    """
    read: dict[str, str] = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--set takes NAME=VALUE, as temperature=20, not {word!r}")
        if name in read:
            raise UsageError(f"--set {name} was given twice: {read[name]!r} and {value!r}")
        read[name] = value
    return read


def _entry(name: str, value: Any) -> str:
    dumped = yaml.safe_dump(_plain(value), default_flow_style=True, allow_unicode=True, width=10000)
    plain = dumped.removesuffix("...\n").strip()
    return f"{name}: {plain}"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path | dt.date) else value
