"""Samples by path: TFRecord files, a folder of them, or imported samples."""

from collections.abc import Iterator
from pathlib import Path

from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.tfrecord.records import Faults
from sarcast.tfrecord.samples import Sample, read_samples
from sarcast.tfrecord.store import SampleStore, is_store


def tfrecord_files(source: Path) -> list[Path]:
    """List the TFRecord files of a path: the file itself, or those in the folder."""
    paths = sorted(source.glob("*.tfrecord*")) if source.is_dir() else [source]
    return [path for path in paths if ".tfrecord" in path.name and path.is_file()]


def open_samples(source: Path, faults: Faults = "fatal") -> tuple[Sample, Iterator[Sample]]:
    """Open samples and give the first one, and an iterator over all of them with progress.

    Parameters
    ----------
    source
        Imported samples, a TFRecord file or a folder of TFRecord files.
    faults
        How a damaged record is handled, as in ``read_samples``.

    Raises
    ------
    SarcastError
        If there is no sample.
    """
    if is_store(source):
        store = SampleStore(source)
        return store[0], iter(track(store, "samples", len(store)))
    files = tfrecord_files(source)
    first = next(read_samples(files, faults), None)
    if first is None:
        raise SarcastError(f"{source} holds no sample; name TFRecord files that hold some")
    return first, read_samples(track(files, "files", len(files)), faults)
