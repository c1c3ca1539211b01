"""The paper's published data set: TFRecord files read and written without TensorFlow."""

from sarcast.tfrecord.opening import open_samples, tfrecord_files
from sarcast.tfrecord.records import Faults, read_records, write_records
from sarcast.tfrecord.samples import Sample, decode, encode, read_samples, write_samples
from sarcast.tfrecord.store import (
    SampleSampler,
    SampleStore,
    fill_store,
    is_store,
    write_store,
)

__all__ = [
    "Faults",
    "Sample",
    "SampleSampler",
    "SampleStore",
    "decode",
    "encode",
    "fill_store",
    "is_store",
    "open_samples",
    "read_records",
    "read_samples",
    "tfrecord_files",
    "write_records",
    "write_samples",
    "write_store",
]
