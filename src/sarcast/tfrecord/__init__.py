"""The paper's published data set: TFRecord files, in and out, without TensorFlow."""

from sarcast.tfrecord.records import Faults, read_records, write_records
from sarcast.tfrecord.samples import Sample, decode, encode, read_samples, write_samples

__all__ = [
    "Faults",
    "Sample",
    "decode",
    "encode",
    "read_records",
    "read_samples",
    "write_records",
    "write_samples",
]
