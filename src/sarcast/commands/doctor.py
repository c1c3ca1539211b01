"""``sarcast doctor``: a report of the installation, the machine, a cube and a model."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field
from rich.console import Console
from rich.table import Table

from sarcast.commands.config import FLAT, Config
from sarcast.cube.executor import WorkerOptions
from sarcast.diagnosis import Diagnosis, diagnose
from sarcast.diagnosis.diagnose import CubeCheck, ModelCheck
from sarcast.diagnosis.installation import EXTRAS, Installation
from sarcast.diagnosis.machine import Machine, gigabytes
from sarcast.errors import SarcastError

Rows = Iterator[tuple[str, str]]


class DoctorConfig(Config):
    """Options of ``sarcast doctor``."""

    model: Path = Field(
        Path("base"), description="Model folder to try, or 'base' for the shipped weights."
    )
    as_json: Annotated[bool, Parameter(name="--json")] = Field(
        False, description="Print the report as JSON, for other programs."
    )
    workers: Annotated[WorkerOptions, FLAT] = Field(default_factory=WorkerOptions)


_DEFAULT = DoctorConfig()


def doctor(cube: Path | None = None, *, config: Annotated[DoctorConfig, FLAT] = _DEFAULT) -> None:
    """Report versions, processor, GPUs, formats, free memory and disk; check a cube and a model.

    The report names paths of this machine, but no credentials. The exit status is 1 if anything
    keeps sarcast from working.

    Parameters
    ----------
    cube
        A cube, of which every chunk is read.
    """
    found = diagnose(cube, config.model, workers=config.workers)
    if config.as_json:
        sys.stdout.write(f"{found.model_dump_json(indent=2)}\n")
    else:
        _show(found)
    if found.faults:
        raise SarcastError(
            f"{len(found.faults)} faults: {'; '.join(found.faults)}"
            if config.as_json
            else f"{len(found.faults)} faults, listed above"
        )


def _show(found: Diagnosis) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _rows(found):
        table.add_row(name, text)
    Console(highlight=False, markup=False).print(table)


def _rows(found: Diagnosis) -> Rows:
    yield from _installation(found.installation)
    yield from _machine(found.machine)
    if found.cube is not None:
        yield "cube", _cube(found.cube)
    if found.model is not None:
        yield "model", _model(found.model)
    for line in found.warnings:
        yield "warning", line
    for line in found.faults:
        yield "fault", line
    if not found.faults:
        yield "", f"no fault, {len(found.warnings)} warnings"


def _installation(found: Installation) -> Rows:
    packages = dict(found.packages)
    yield "sarcast", f"{packages.pop('sarcast')} in {found.location}"
    yield "python", f"{packages.pop('python')}"
    yield "packages", _joined(packages)
    yield "libraries", _joined(found.libraries)
    for name, lacking in found.extras.items():
        state = f"lacks {', '.join(lacking)}" if lacking else "complete"
        yield f"extra {name}", f"{state} (for {EXTRAS[name]})"
    formats = found.formats
    for kind, present, missing in (
        ("rasters", formats.rasters, formats.missing_rasters),
        ("polygons", formats.polygons, formats.missing_polygons),
    ):
        yield f"{kind} read", ", ".join(present)
        yield f"{kind} not read", ", ".join(missing) or "none"


def _machine(found: Machine) -> Rows:
    processor = found.processor
    yield "system", found.system
    yield "interpreter", found.python
    yield (
        "processor",
        f"{processor.name} ({processor.architecture}), {processor.cores} cores, torch uses "
        f"{processor.threads} threads and {processor.vector_instructions}; arithmetic for "
        f"bfloat16: {'yes' if processor.bfloat16 else 'no'}",
    )
    yield "number format", f"{processor.number_format}, unless --precision says otherwise"
    yield "CUDA of torch", found.cuda or "none"
    for gpu in found.gpus:
        free, total = gigabytes(gpu.free_bytes), gigabytes(gpu.memory_bytes)
        yield "GPU", f"{gpu.name}, capability {gpu.capability}, {free} of {total} free"
    if not found.gpus:
        yield "GPU", "none that torch can use; the CPU is used"
    memory = found.memory
    yield "memory", f"{gigabytes(memory.free_bytes)} of {gigabytes(memory.total_bytes)} free"
    for disk in found.disks:
        free, total = gigabytes(disk.free_bytes), gigabytes(disk.total_bytes)
        yield "disk", f"{free} of {total} free in {disk.folder}"
    yield "environment", _joined(found.environment) or "no variable that the libraries read"


def _cube(found: CubeCheck) -> str:
    return (
        f"{found.path}: {found.dates} dates from {found.first} to {found.last}, {found.rows} x "
        f"{found.columns} pixels, {', '.join(found.bands)}, {found.crs}, "
        f"{found.size_bytes / 2**20:.1f} MB"
    )


def _model(found: ModelCheck) -> str:
    return (
        f"{found.name} ({found.network}): error {found.error_db:.2f} dB in {found.windows} "
        f"synthetic windows of {found.size} pixels, mean of previous images "
        f"{found.mean_error_db:.2f} dB; {found.seconds:.2f} s on {found.device} in "
        f"{found.precision}"
    )


def _joined(values: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {value or 'missing'}" for name, value in values.items())
