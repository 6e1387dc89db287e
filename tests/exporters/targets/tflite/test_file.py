"""No damaged or foreign file gets as far as a runtime, whatever is wrong with it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from exporters.errors import ModelFileError
from exporters.signature import Signature
from exporters.targets.tflite import file as tflite_file
from exporters.targets.tflite import graph as tflite_graph
from exporters.targets.tflite import interpreter as tflite_interpreter
from exporters.targets.tflite import target as tflite

pytestmark = pytest.mark.slow  # converters take seconds to begin


@pytest.fixture(scope="module")
def good(signature: Signature, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The smallest file there is, some kilobytes."""
    path = tmp_path_factory.mktemp("models") / "model.tflite"
    module = nn.Sequential(nn.Conv1d(1, 3, 64), nn.Flatten())
    tflite.export(module, signature, path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def no_runtime(monkeypatch: pytest.MonkeyPatch, good: bytes) -> None:
    """C++ must not see what is wrong; ``good`` was made before this."""

    def opened(content: bytes, threads: int = 1, *, plain: bool = False) -> object:
        raise AssertionError("a damaged file reached the runtime")

    monkeypatch.setattr(tflite, "opened", opened)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    path = tmp_path / "damaged.tflite"

    def refuse(content: bytes) -> str:
        path.write_bytes(content)
        for take in (tflite.open_runtime, tflite.structure):
            with pytest.raises(ModelFileError, match=r"damaged\.tflite") as error:
                take(path)
            assert error.value.exit_code == 3
            assert "\n" not in str(error.value), "one paragraph"
        return str(error.value)

    return refuse


def test_the_good_one_is_read(good: bytes, tmp_path: Path, signature: Signature) -> None:
    (tmp_path / "model.tflite").write_bytes(good)
    content, facts = tflite_file.read(tmp_path / "model.tflite")
    assert content == good
    assert Signature.from_json(facts["lipstill.signature"]) == signature
    assert facts["lipstill.student"] == "tiny, fp32"
    assert all(key.startswith("lipstill.") for key in facts)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"RIFF0000WAVEfmt ", bytes(4096)])
def test_other_files(content: bytes, refused: Callable[[bytes], str]) -> None:
    assert "expected b'TFL3'" in refused(content)


def test_every_length_but_the_whole(good: bytes, refused: Callable[[bytes], str]) -> None:
    for length in (*range(0, len(good), 97), len(good) - 1):
        refused(good[:length])
    refused(good + b"\0")


def test_every_byte_but_those_of_weights_matters(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    weights = {place for part in tflite_file._weights(good) for place in range(len(good))[part]}
    assert len(weights) == 4 * (64 * 3 + 3), "weights and biases in float32"
    for place in sorted(set(range(len(good))) - weights):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            tflite_file.read(path)


def test_other_weights_are_for_golden_windows_to_find(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    for part in tflite_file._weights(good):
        path.write_bytes(good[: part.start] + bytes(part.stop - part.start) + good[part.stop :])
        assert tflite_file.read(path)[0] != good


def test_offsets_that_lead_anywhere(good: bytes, refused: Callable[[bytes], str]) -> None:
    draw = np.random.default_rng(5)
    # The first kilobyte and a half holds the tables; what is in the header is tried in full.
    places = [*range(0, 64, 4), *draw.integers(16, 375, 100) * 4]
    for place in places:
        for value in (0, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFC, len(good), len(good) - 4):
            damaged = bytearray(good)
            struct.pack_into("<I", damaged, int(place), value)
            if damaged != good:
                refused(bytes(damaged))


def test_garbage_that_calls_itself_tflite(refused: Callable[[bytes], str]) -> None:
    draw = np.random.default_rng(6)
    for length in (8, 9, 64, 1000):
        for _ in range(20):
            garbage = bytearray(draw.bytes(length))
            garbage[4:8] = b"TFL3"
            garbage[1:4] = bytes(3)  # so that the first table may be inside
            refused(bytes(garbage))


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        for take in (tflite.open_runtime, tflite.structure):
            with pytest.raises(ModelFileError, match="is not a file"):
                take(path)


def test_tflite_of_other_origin(good: bytes, refused: Callable[[bytes], str]) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(good, 0))
    model.metadata = model.metadata[:1]
    assert "none that lipstill wrote" in refused(tflite_graph._packed(model))
    model.metadata = None
    assert "none that lipstill wrote" in refused(tflite_graph._packed(model))


def test_a_file_without_its_digest(good: bytes, refused: Callable[[bytes], str]) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(good, 0))
    *model.metadata, digest = model.metadata
    assert digest.name == b"lipstill.sha256"
    assert "no room for 'lipstill.sha256'" in refused(tflite_graph._packed(model))


def test_another_output_is_given(good: bytes) -> None:
    changed = tflite_file.with_output(good, 0)
    found = schema.Model.GetRootAs(changed, 0).Subgraphs(0)
    assert found.OutputsAsNumpy().tolist() == [0]
    assert len(changed) == len(good)
    assert sum(a != b for a, b in zip(changed, good, strict=True)) <= 4
    interpreter = tflite_interpreter.opened(changed, plain=True)
    assert interpreter.get_output_details()[0]["name"] == "audio"
