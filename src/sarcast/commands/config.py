"""One definition gives the flags of a verb, its YAML and the record beside its result.

The options of a verb are a pydantic model beside its function in ``workflows``, composed of the
options that lie beside the algorithms. In YAML they stand under the verb, named as the flags.
"""

import datetime as dt
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from sarcast.errors import UsageError, public
from sarcast.io.files import RECORD

FLAT = Parameter(name="*")
"""Marks options whose fields are flags of the verb itself."""
MAY_BE_NEGATIVE = Parameter(allow_leading_hyphen=True)
"""Marks a text whose value may begin with a minus sign, as a western longitude."""


class Config(BaseModel):
    """Options of a verb."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def write_record(folder: Path, verb: str, inputs: Mapping[str, Any], config: Config) -> None:
    """Write ``run.yaml``, the resolved options of a verb, commented; ``--config`` reads it.

    Parameters
    ----------
    folder
        Of the result.
    verb
        What was done; a verb of a group after the group's name, as ``"tfrecord import"``.
    inputs
        What the verb was given besides its options, by argument name.
    config
        Its options.
    """
    (folder / RECORD).write_text(_record(verb, inputs, config), encoding="utf-8")


def differing_options(
    folder: Path, verb: str, inputs: Mapping[str, Any], config: Config
) -> list[str]:
    """Name inputs and options that a record in a folder tells otherwise, but not where to write.

    Parameters
    ----------
    folder, verb, inputs, config
        As for ``write_record``; options of the verb that are not among these count for nothing.
    """
    asked = yaml.safe_load(_record(verb, inputs, config))[verb]
    try:
        held = yaml.safe_load((folder / RECORD).read_text(encoding="utf-8"))[verb]
        return [name for name in _names(inputs, config) if held.get(name) != asked.get(name)]
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
        return _names(inputs, config)  # somebody wrote in it


def _names(inputs: Mapping[str, Any], config: Config) -> list[str]:
    """Name all that a result depends on."""
    names = [*inputs, *(name for name, _, _ in flat(config))]
    return [name for name in names if name not in ("to", "overwrite")]


def _record(verb: str, inputs: Mapping[str, Any], config: Config) -> str:
    lines = [_entry(name, value) for name, value in inputs.items()]
    for name, field, value in flat(config):
        if value is not None:
            lines += [f"# {field.description}", _entry(name, value)]
    for word in reversed(verb.split()):
        lines = [f"{word}:", *(f"  {line}" for line in lines)]
    return "\n".join(lines) + "\n"


def check_record(path: Path, verb: str) -> None:
    """See that a file holds options of a verb.

    Raises
    ------
    UsageError
        If it does not exist, is no YAML, or holds options of other verbs alone.
    """
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from error
    if isinstance(held, dict) and isinstance(held.get(verb), dict):
        odd = [key for key in held[verb] if not isinstance(key, str)]
        if odd or any(value is held[verb] for value in held[verb].values()):
            raise UsageError(
                f"--config {path} must hold names and plain values, found {odd or '*'}"
            )
    if not isinstance(held, dict) or verb not in held:
        found = ", ".join(map(str, held)) if isinstance(held, dict) else type(held).__name__
        raise UsageError(
            f"--config {path} must hold the options under the key {verb!r}, but holds {found}"
        )


def flat(config: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Give name, field and value of every key of a verb's options, named as its flag."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if FLAT in field.metadata:
            yield from flat(value)
        else:
            yield _flag_name(field) or name, field, value


def command(verb: str, inputs: Iterable[Any], config: BaseModel) -> str:
    """Give the command line that asks for work again, as a shell reads it.

    Parameters
    ----------
    verb
        As for ``write_record``.
    inputs
        What the verb was given besides its options, in their order.
    config
        Its options.
    """
    return shlex.join(["sarcast", *verb.split(), *map(str, inputs), *flags(config)])


def non_default_flags(config: BaseModel, among: Container[str] | None = None) -> list[str]:
    """Name the flags of options that are not at their defaults; ``among`` some, or all."""
    return [
        f"--{name.replace('_', '-')}"
        for name, field, value in flat(config)
        if among is None or name in among
        if value != field.get_default(call_default_factory=True)
    ]


def flags(config: BaseModel) -> list[str]:
    """Give the flags of a command line that asks for these options.

    Those that were given stand among them also where they equal their default: what suits a model
    takes the place of defaults, not of what is given.

    Parameters
    ----------
    config
        Options of a verb, or of a part of them.

    Returns
    -------
    list of str
        Words, as ``["--previous", "8", "--by-condition=false"]``.
    """
    words: list[str] = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if FLAT in field.metadata:
            words += flags(value)
        elif value is not None and (
            name in config.model_fields_set or value != field.get_default(call_default_factory=True)
        ):
            words += _flag((_flag_name(field) or name).replace("_", "-"), value)
    return words


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, BaseModel):
        return [word.replace("--", f"--{name}.", 1) for word in flags(value)]
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--{name}=false"]
    if isinstance(value, tuple):
        return [word for one in value for word in _flag(name, one)]
    return [f"--{name}", str(_plain(value))]


def _flag_name(field: FieldInfo) -> str | None:
    """Name of a field's first flag, where it is not the field's own."""
    for part in field.metadata:
        if isinstance(part, Parameter) and part.name:
            return next(iter(part.name)).removeprefix("--")
    return None


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
    return public(f"{name}: {plain}")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path | dt.date) else value
