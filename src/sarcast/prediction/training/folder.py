"""Model folders: trained in the subfolder ``training``, complete when ``model.yaml`` appears."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sarcast.io.files import check_target
from sarcast.io.partials import remove_stale
from sarcast.io.results import RECORD
from sarcast.prediction.model import Model
from sarcast.prediction.model_folder import write_model

MODEL_FILES = ("model.safetensors", RECORD, "model.yaml")
"""Files of a finished model folder, in the order in which they are replaced."""


def work_folder(folder: Path) -> Path:
    """Folder of the checkpoints and logs of a model folder."""
    return folder / "training"


def stage_folder(folder: Path, number: int) -> Path:
    """Folder of the checkpoints and logs of one of several training stages."""
    return work_folder(folder) / f"stage-{number}"


def _checkpoints(work: Path) -> list[Path]:
    """Folders of checkpoints in a work folder: of a training, and of each of its stages."""
    return [path for path in work.glob("**/checkpoints") if path.is_dir()]


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a model."""
    return (folder / MODEL_FILES[-1]).exists()


def check_model_folder(folder: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check that a model may be trained in a folder: it is free, or a run stopped there.

    Parameters
    ----------
    folder
        The model folder.
    overwrite
        Allow to replace a model.
    inputs
        Paths that are read, and may not be replaced.

    Raises
    ------
    SarcastError
        If it is not.
    """
    work = work_folder(folder)
    stopped = (work / RECORD).is_file() or bool(_checkpoints(work))
    if is_finished(folder) or not stopped:
        check_target(folder, overwrite=overwrite, inputs=inputs)


def write_finished(model: Model, folder: Path, *, half: bool) -> None:
    """Write a trained model, which replaces an older one at the last moment.

    The record of the options, ``run.yaml``, moves from the work folder to the model; checkpoints
    are removed and logs stay.

    Parameters
    ----------
    model
        The model.
    folder
        The model folder.
    half
        Store the weights in half precision.
    """
    work = work_folder(folder)
    ready = work / "model"
    ready.mkdir(parents=True, exist_ok=True)
    write_model(model, ready, half=half)
    if (work / RECORD).is_file():
        shutil.copy(work / RECORD, ready / RECORD)
    (folder / MODEL_FILES[-1]).unlink(missing_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name in MODEL_FILES:
        if (ready / name).is_file():
            (ready / name).replace(folder / name)
    ready.rmdir()
    (work / RECORD).unlink(missing_ok=True)
    for checkpoints in _checkpoints(work):
        shutil.rmtree(checkpoints, ignore_errors=True)


def discard_empty(folder: Path) -> None:
    """Delete a work folder in which a run was killed before it wrote anything."""
    work = work_folder(folder)
    remove_stale(work / RECORD)
    with suppress(OSError):
        work.rmdir()


def discard_training(folder: Path) -> None:
    """Delete what a training left in a model folder besides the model; files of others stay."""
    work = work_folder(folder)
    for part in (*work.glob("stage-*"), work):
        for name in ("checkpoints", "logs", "model"):
            shutil.rmtree(part / name, ignore_errors=True)
        (part / RECORD).unlink(missing_ok=True)
        with suppress(OSError):
            part.rmdir()


def discard_model(folder: Path) -> None:
    """Delete a model and its training from a model folder; files of others stay."""
    for name in reversed(MODEL_FILES):
        (folder / name).unlink(missing_ok=True)
    discard_training(folder)
    with suppress(OSError):
        folder.rmdir()
