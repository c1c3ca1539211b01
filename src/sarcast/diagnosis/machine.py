"""The machine: processor, GPUs, memory, disks, and the settings of the libraries used."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import torch
from distributed.system import MEMORY_LIMIT
from pydantic import BaseModel, ConfigDict

from sarcast.cube.executor import cores
from sarcast.errors import first_line, hide
from sarcast.prediction import NumberFormat
from sarcast.prediction.precision import has_bfloat16

LEAST_MEMORY = 2 * 2**30
"""Bytes of free memory below which a cube may not be built, whatever the size of its area."""
LEAST_DISK = 2**30
"""Bytes of free disk below which a folder is warned of."""

_READ_BY_LIBRARIES = (
    *("GDAL_", "CPL_", "VSI_", "VRT_", "AWS_", "AZURE_", "GS_", "PROJ_", "PG", "DASK_", "SARCAST_"),
    *("OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "TORCH", "PYTORCH_", "PYTHON"),
)
_SHOWN = (
    *("PROJ_", "GDAL_DATA", "GDAL_CACHEMAX", "GDAL_NUM_THREADS", "GDAL_DRIVER_PATH"),
    *("OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_VISIBLE", "PYTHON"),
)
"""Beginnings of the names of environment variables, and of those whose values are no secrets."""


class Part(BaseModel):
    """A part of a report, which becomes a part of its JSON."""

    model_config = ConfigDict(frozen=True)


class Processor(Part):
    """A processor, and what of it torch uses."""

    name: str
    architecture: str
    cores: int
    threads: int
    vector_instructions: str
    bfloat16: bool
    number_format: NumberFormat


class Gpu(Part):
    """A GPU that torch can use; memory in bytes."""

    name: str
    capability: str
    memory_bytes: int
    free_bytes: int


class Memory(Part):
    """Main memory that this process may use, bytes."""

    total_bytes: int
    free_bytes: int


class Disk(Part):
    """The disk that holds a folder, bytes."""

    folder: str
    total_bytes: int
    free_bytes: int


class Machine(Part):
    """A machine, as this process sees it.

    Attributes
    ----------
    system
        Operating system and its version.
    python
        Path of the interpreter.
    cuda
        Version of CUDA that torch was built for; None for a torch that computes on CPUs only.
    environment
        Environment variables that the libraries read; ``(set)`` stands for values that may be
        secret.
    """

    system: str
    python: str
    processor: Processor
    cuda: str | None
    gpus: tuple[Gpu, ...]
    memory: Memory
    disks: tuple[Disk, ...]
    environment: dict[str, str]


def describe_machine(folders: Iterable[Path] = ()) -> tuple[Machine, list[str]]:
    """Describe this machine.

    Parameters
    ----------
    folders
        Folders whose disks matter, besides the current and the temporary one.

    Returns
    -------
    machine
        Its description.
    warnings
        What may stop the work, one line each.
    """
    gpus, warnings = _gpus()
    machine = Machine(
        system=platform.platform(),
        python=sys.executable,
        processor=_processor("cuda" if gpus else "cpu"),
        cuda=torch.version.cuda,
        gpus=tuple(gpus),
        memory=_memory(),
        disks=tuple(_disks((Path.cwd(), Path(tempfile.gettempdir()), *folders))),
        environment=dict(_environment()),
    )
    return machine, [*warnings, *_shortages(machine)]


def _processor(device: str) -> Processor:
    return Processor(
        name=_processor_name(),
        architecture=platform.machine(),
        cores=cores(),
        threads=torch.get_num_threads(),
        vector_instructions=torch.backends.cpu.get_cpu_capability(),
        bfloat16=has_bfloat16("cpu"),
        number_format="bfloat16" if has_bfloat16(device) else "float32",
    )


def _processor_name() -> str:
    """Name of the processor, which Linux states in a file only."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _gpus() -> tuple[list[Gpu], list[str]]:
    """The GPUs that torch can use, and why it cannot use one."""
    has_driver = shutil.which("nvidia-smi") is not None
    if has_driver and torch.version.cuda is None:
        return [], [
            "this machine has an NVIDIA driver, but torch was installed without CUDA, and computes "
            "on the CPU: install a torch of pytorch.org that is built for CUDA"
        ]
    if not torch.cuda.is_available():
        reason = "torch finds no GPU although there is an NVIDIA driver: see what nvidia-smi says"
        return [], [reason] if has_driver else []
    gpus, warnings = [], []
    for index in range(torch.cuda.device_count()):
        try:
            gpus.append(_gpu(index))
        except RuntimeError as error:  # of a driver that is older than CUDA, or a full GPU
            warnings.append(f"GPU {index} cannot be used: {first_line(error)}")
    return gpus, warnings


def _gpu(index: int) -> Gpu:
    found = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return Gpu(
        name=found.name,
        capability=f"{found.major}.{found.minor}",
        memory_bytes=total,
        free_bytes=free,
    )


def _memory() -> Memory:
    """Memory of the machine, or that of the container in which this process runs."""
    found = psutil.virtual_memory()
    total = min(found.total, int(MEMORY_LIMIT))
    return Memory(total_bytes=total, free_bytes=min(found.available, total))


def _disks(folders: Iterable[Path]) -> Iterator[Disk]:
    """The disk of each folder, each disk once."""
    seen = set()
    for folder in folders:
        device = folder.stat().st_dev
        if device not in seen:
            seen.add(device)
            usage = shutil.disk_usage(folder)
            yield Disk(folder=str(folder), total_bytes=usage.total, free_bytes=usage.free)


def _environment() -> Iterator[tuple[str, str]]:
    for name, value in sorted(os.environ.items()):
        if name.startswith(_READ_BY_LIBRARIES):
            shown = name.startswith(_SHOWN)
            yield name, hide(value, f"{name}={value}") if shown else "(set)"


def _shortages(machine: Machine) -> Iterator[str]:
    if machine.memory.free_bytes < LEAST_MEMORY:
        yield (
            f"{gigabytes(machine.memory.free_bytes)} of memory are free; building a cube needs "
            f"{gigabytes(LEAST_MEMORY)}: end other programs, or use fewer --workers"
        )
    for disk in machine.disks:
        if disk.free_bytes < LEAST_DISK:
            yield (
                f"{gigabytes(disk.free_bytes)} are free on the disk of {disk.folder}; free some, "
                f"or name targets on another disk"
            )


def gigabytes(size: float) -> str:
    """Return a number of bytes as a text in GB (2^30 bytes)."""
    return f"{size / 2**30:.1f} GB"
