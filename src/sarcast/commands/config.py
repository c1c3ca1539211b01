"""Options of the verbs: one definition gives the flags, the YAML and the record beside a result.

The options of a verb are a pydantic model in its file, composed of the option models that are
defined next to the algorithms. In YAML they stand under the name of the verb, with the names of the
flags::

    detect:
      model: base
      # Date of the target in the cube, ISO 8601.
      at: '2025-01-02'
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

from sarcast.errors import LONGEST, UsageError, hide, without_credentials
from sarcast.io.documents import MalformedError, parse_yaml, read_yaml
from sarcast.io.results import RECORD

FLAT = Parameter(name="*")
"""Marks an option model whose fields become flags of the verb itself."""
MAY_BE_NEGATIVE = Parameter(allow_leading_hyphen=True)
"""Marks an option whose value may begin with a minus sign, such as a western longitude."""


class Config(BaseModel):
    """Options of a verb."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def write_record(folder: Path, verb: str, inputs: Mapping[str, Any], config: Config) -> None:
    """Write ``run.yaml``: the resolved options of a verb with comments, readable by ``--config``.

    It is written at once: a killed run leaves the whole record or none.

    Parameters
    ----------
    folder
        Folder of the result.
    verb
        Name of the verb, with its group where it has one: ``"tfrecord import"``.
    inputs
        Positional arguments of the verb, by name.
    config
        Options of the verb.
    """
    from sarcast.io.files import new_file

    with new_file(folder / RECORD) as partial:
        partial.write_text(_record(verb, inputs, config), encoding="utf-8")


def differing_options(
    folder: Path, verb: str, inputs: Mapping[str, Any], config: Config
) -> list[str]:
    """List the inputs and options whose values differ from those recorded in a folder.

    ``to`` and ``overwrite`` are not compared: the result does not depend on them.

    Parameters
    ----------
    folder, verb, inputs, config
        As for ``write_record``; recorded options that are not among these are ignored.
    """
    names = _names_that_matter(inputs, config)
    current = parse_yaml(_record(verb, inputs, config))[verb]
    try:
        recorded = read_yaml(folder / RECORD)[verb]
        return [name for name in names if recorded.get(name) != current.get(name)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return names  # the record was edited by hand and cannot be read


def _names_that_matter(inputs: Mapping[str, Any], config: Config) -> list[str]:
    """Names of all inputs and options that a result depends on."""
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


def read_record(path: Path, verb: str) -> dict[str, Any]:
    """Read a file of options; it must hold those of a verb. Options that are null are left out.

    Raises
    ------
    UsageError
        If the file cannot be read, is not YAML, or has no options of this verb.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}") from error
    except MalformedError as error:
        raise UsageError(f"--config {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or verb not in content:
        found = (
            ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        )
        raise UsageError(
            f"--config {path} must hold the options under the key {verb!r}, but holds {found}"
        )
    options = content[verb]
    if not isinstance(options, dict):
        return content
    invalid: list[Any] = []
    given = _given(options, invalid)
    if invalid:
        raise UsageError(
            f"--config {path} must hold names and plain values, and no null in a list, found "
            f"{invalid}"
        )
    return {**content, verb: given}


def _given(options: Mapping[Any, Any], invalid: list[Any]) -> dict[str, Any]:
    """Options that are not null, also those of nested groups; collects the names of invalid ones.

    A name that is no text, or a null in a list, is invalid.
    """
    given: dict[str, Any] = {}
    for key, value in options.items():
        if not isinstance(key, str) or (isinstance(value, list) and None in value):
            invalid.append(key)
        elif value is not None:
            given[key] = _given(value, invalid) if isinstance(value, dict) else value
    return given


def flat(config: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Yield name, field and value of every option of a verb, under the name of its flag."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if FLAT in field.metadata:
            yield from flat(value)
        else:
            yield _flag_name(field) or name, field, value


def command(verb: str, inputs: Iterable[Any], config: BaseModel) -> str:
    """Return the command line that repeats a run, quoted for a shell.

    Parameters
    ----------
    verb
        As for ``write_record``.
    inputs
        Positional arguments of the verb, in order.
    config
        Options of the verb.
    """
    return shlex.join(["sarcast", *verb.split(), *map(str, inputs), *flags(config)])


def non_default_flags(config: BaseModel, among: Container[str] | None = None) -> list[str]:
    """List the flags of options that are not at their defaults; ``among`` restricts the names."""
    return [
        f"--{name.replace('_', '-')}"
        for name, field, value in flat(config)
        if among is None or name in among
        if value != field.get_default(call_default_factory=True)
    ]


def flags(config: BaseModel) -> list[str]:
    """Return the flags of a command line that asks for these options.

    An option that was given explicitly is listed even where it equals its default: a model may
    replace defaults by values that suit it, but never a value that was given.

    Parameters
    ----------
    config
        Options of a verb, or a part of them.

    Returns
    -------
    list of str
        Words such as ``["--previous", "8", "--by-condition=false"]``.
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
        return [word for item in value for word in _flag(name, item)]
    return [f"--{name}", str(_plain(value))]


def _flag_name(field: FieldInfo) -> str | None:
    """Name of a field's first flag, if it differs from the name of the field."""
    for part in field.metadata:
        if isinstance(part, Parameter) and part.name:
            return next(iter(part.name)).removeprefix("--")
    return None


def read_settings(settings: tuple[str, ...]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` words into a dictionary.

    Raises
    ------
    UsageError
        If a word has no name or no value, or a name is given twice.
    """
    parsed: dict[str, str] = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--set takes NAME=VALUE, such as temperature=20, not {word!r}")
        if name in parsed:
            raise UsageError(f"--set {name} was given twice: {parsed[name]!r} and {value!r}")
        parsed[name] = value
    return parsed


def _entry(name: str, value: Any) -> str:
    shown = _without_credentials(_plain(value))
    dumped = yaml.safe_dump(shown, default_flow_style=True, allow_unicode=True, width=10000)
    plain = dumped.removesuffix("...\n").strip()
    return f"{name}: {plain}"


def _without_credentials(value: Any) -> Any:
    """A plain value whose texts are free of credentials, before YAML quotes them."""
    if isinstance(value, list):
        return [_without_credentials(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_credentials(item) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    return hide(value, value) if len(value) <= LONGEST else without_credentials(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path | dt.date) else value
