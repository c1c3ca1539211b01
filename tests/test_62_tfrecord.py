import gzip
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fuzz.fuzz_tfrecord import plain, simulated
from sarcast.errors import SarcastError
from sarcast.sensor.conditions import PaperScaling, paper_vector
from sarcast.tfrecord import (
    decode,
    encode,
    read_records,
    read_samples,
    write_records,
    write_samples,
)
from sarcast.tfrecord.records import _masked
from sarcast.tfrecord.wire import read_example, read_tensor, write_example, write_tensor


def framed(*records: bytes) -> bytes:
    """Frame records by the published layout, with a checksum made bit by bit."""

    def crc32c(data: bytes) -> int:
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    parts = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += length + struct.pack("<I", crc32c(length))
        parts += record + struct.pack("<I", crc32c(record))
    return parts


RECORDS = [b"one", b"", b"three" * 1000]


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zlib.compress], ids=["plain", "gzip", "zlib"]
)
def test_reads_every_compression(tmp_path, compress):
    path = tmp_path / "x"
    path.write_bytes(compress(framed(*RECORDS)))
    found = list(read_records(path))
    assert [data for _, data in found] == RECORDS
    assert [offset for offset, _ in found] == [0, 19, 35]


def test_reads_several_gzip_members_as_one(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(framed(b"one")) + gzip.compress(framed(b"two")))
    assert [data for _, data in read_records(path)] == [b"one", b"two"]


def test_records_are_written_in_the_published_layout(tmp_path):
    assert write_records(tmp_path / "x", RECORDS) == 3
    assert gzip.decompress((tmp_path / "x").read_bytes()) == framed(*RECORDS)
    first = (tmp_path / "x").read_bytes()
    write_records(tmp_path / "x", RECORDS)
    assert (tmp_path / "x").read_bytes() == first


def broken(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "broken.tfrecord"
    path.write_bytes(data)
    return path


def test_wrong_checksum_names_file_and_offset_or_is_skipped(tmp_path, capsys):
    data = bytearray(framed(*RECORDS))
    data[35 + 20] ^= 1
    path = broken(tmp_path, data + framed(b"four"))
    with pytest.raises(SarcastError, match=r"broken.tfrecord, record at byte 35: .*data is wrong"):
        list(read_records(path))
    assert [d for _, d in read_records(path, "skip")] == [b"one", b"", b"four"]
    assert "skipped" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [3, 14, 17, 36, 60])
def test_truncation_is_an_error(tmp_path, cut):
    path = broken(tmp_path, framed(*RECORDS)[:cut])
    with pytest.raises(SarcastError, match="the file ends within"):
        list(read_records(path))


def test_truncated_gzip_is_an_error(tmp_path):
    path = broken(tmp_path, gzip.compress(framed(*RECORDS))[:-20])
    with pytest.raises(SarcastError, match="cannot be decompressed|ends within"):
        list(read_records(path))


def test_length_of_2_to_the_63_is_refused(tmp_path):
    head = struct.pack("<Q", 1 << 63)
    path = broken(tmp_path, head + struct.pack("<I", _masked(head)) + b"x")
    with pytest.raises(SarcastError, match="9223372036854775808 bytes long, more than"):
        list(read_records(path))


def test_gzip_bomb_takes_little_memory(tmp_path):
    """A record that is too long is refused before its bytes are read."""
    import tracemalloc

    head = struct.pack("<Q", 1 << 33)
    path = broken(tmp_path, gzip.compress(head + struct.pack("<I", _masked(head)) + bytes(10**8)))
    tracemalloc.start()
    with pytest.raises(SarcastError, match="more than the"):
        list(read_records(path))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


TENSORS = st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?", "i2", "f2"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@given(TENSORS)
def test_tensors_are_read_as_written(tensor):
    back = read_tensor(memoryview(write_tensor(tensor)))
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert back.tobytes() == np.ascontiguousarray(tensor).tobytes()


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_string_tensors_are_read_as_written(texts):
    tensor = np.empty(len(texts), dtype=object)
    tensor[:] = texts
    assert read_tensor(memoryview(write_tensor(tensor))).tolist() == texts


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.lists(st.binary(max_size=200), max_size=3),
            arrays("f4", st.integers(0, 4)),
            arrays("i8", st.integers(0, 4)),
        ),
        max_size=4,
    )
)
def test_examples_are_read_as_written(features):
    back = read_example(memoryview(write_example(features)))
    assert back.keys() == features.keys()
    for name, feature in features.items():
        if isinstance(feature, np.ndarray):
            np.testing.assert_array_equal(back[name], feature)
        else:
            assert [bytes(value) for value in back[name]] == feature


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (b"\x08\x01\x12\x04\x12\x02\x08\x03\x22\x04abcd", r"shape \(3,\).*12 bytes, but has 4"),
        (b"\x08\x63\x12\x04\x12\x02\x08\x03", "unknown type 99"),
        (b"\x08\x01\x12\x0a\x12\x08\x08\xff\xff\xff\xff\xff\xff\x7f", "a dim of impossible size"),
        (b"\x08\x01\x12\x24" + b"\x12\x02\x08\x01" * 9, "9 dims; at most 8 are supported"),
        (b"\x08\x07\x12\x04\x12\x02\x08\x03", "has 0 strings"),
        (b"\x22\x7fab", "127 bytes long, but only 2 are left"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x08\xff\xff", "truncated or too long"),
    ],
)
def test_a_faulty_tensor_is_an_error_that_says_why(tensor, error):
    with pytest.raises(SarcastError, match=error):
        read_tensor(memoryview(tensor))


@pytest.mark.parametrize("name", sorted(read_example(memoryview(encode(simulated())))))
def test_a_missing_feature_is_named(name):
    features = dict(read_example(memoryview(encode(simulated()))))
    del features[name]
    optional = {
        "forestmask",
        "input_image_mission_ids",
        "target_image_mission_id",
        "target_image_prediction",
        "num_simulated_changes",
        "simulated_change_mask",
    }
    if name in optional:
        decode(write_example(features))
    else:
        with pytest.raises(SarcastError, match=f"no feature '{name}'"):
            decode(write_example(features))


def assert_same(sample, other):
    for name in ("previous", "target", "conditions", "times", "elevation", "forest"):
        np.testing.assert_array_equal(getattr(sample.window, name), getattr(other.window, name))
    for name in ("shapes", "simulated", "prediction", "superpixels"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(other, name))
    for name in ("location", "take_ids", "superpixel_sets"):
        assert getattr(sample, name) == getattr(other, name)


def test_missing_conditions_are_read_as_written():
    sample = plain()
    sample.window.conditions[:, -1] = [0, 1, np.nan, 2, np.nan]
    sample.window.conditions[0, 0] = np.nan
    bare = replace(sample, window=replace(sample.window, forest=None))
    assert_same(decode(encode(bare)), bare)


def test_a_bad_sample_is_named_or_skipped(tmp_path):
    path = tmp_path / "x.tfrecord"
    write_records(path, [encode(plain()), b"\x0a\x00", encode(plain())])
    with pytest.raises(SarcastError, match=r"x.tfrecord, record at byte \d+: the sample has no"):
        list(read_samples([path]))
    assert len(list(read_samples([path], "skip"))) == 2


FILES = {
    "samples": 8,
    "simulated-change-with-prediction": 36,
}


@pytest.mark.parametrize("folder", FILES)
def test_round_trip_of_the_published_schema_changes_no_value(data_dir, tmp_path, folder):
    paths = sorted((data_dir / "tfrecord" / folder).glob("*"))
    samples = list(read_samples(paths))
    assert len(samples) == FILES[folder]
    assert write_samples(tmp_path / "out.tfrecord.GZIP", samples) == FILES[folder]
    again = list(read_samples([tmp_path / "out.tfrecord.GZIP"]))
    for sample, other in zip(samples, again, strict=True):
        assert_same(sample, other)


@pytest.mark.parametrize("folder", FILES)
def test_written_features_have_the_published_types(data_dir, folder):
    (path, *_) = sorted((data_dir / "tfrecord" / folder).glob("*"))
    _, record = next(read_records(path))
    theirs, ours = (dict(read_example(memoryview(r))) for r in (record, encode(decode(record))))
    assert theirs.keys() == ours.keys()
    for name, feature in theirs.items():
        if isinstance(feature, np.ndarray):
            assert feature.dtype == ours[name].dtype
            continue
        try:
            tensor = read_tensor(memoryview(feature[0]))
        except SarcastError:
            continue
        if tensor.size:
            found = read_tensor(memoryview(ours[name][0]))
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)


def test_encoding_equals_the_published_code(data_dir):
    folder = data_dir / "tfrecord"
    known = np.load(folder / "expected-first-sample.npz")
    stats = json.loads((folder / "stats.json").read_text())
    mean, spread = stats["sar_images"]["mean"], 4.0 * stats["sar_images"]["var"] ** 0.5
    scaling = PaperScaling(
        band_low=(mean - spread,) * 2,
        band_high=(mean + spread,) * 2,
        elevation_max=stats["dem_rast"]["max"],
        snow_depth_max=stats["snow_depths"]["max"],
        precipitation_max=stats["precipitations"]["max"],
    )
    window = next(read_samples(sorted((folder / "samples").glob("*")))).window
    values, present = paper_vector(window.conditions, scaling)
    assert present.all()
    np.testing.assert_allclose(values, known["latent_metadata"], atol=1e-6)
    scaled = (window.target - (mean - spread)) / spread - 1.0
    np.testing.assert_allclose(np.moveaxis(scaled, 0, -1), known["target_image"], atol=1e-6)
    np.testing.assert_array_equal(window.forest, known["forestmask"] != 0)
