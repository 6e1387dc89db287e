"""Signature: what it refuses, what it computes, and its JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.errors import ModelFileError
from exporters.signature import Signature, latency_in_words


def test_times_follow_from_samples(signature: Signature) -> None:
    # 48 and 16 samples at 16 kHz.
    assert (signature.past_ms, signature.future_ms) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("smoothing", "latency_ms"),
    [
        ((1.0,), 17.0),
        ((0.25, 0.5, 0.25), 33.0),
        ((0.5, 0.5, 0.0), 17.0),
        ((0.0, 0.25, 0.25, 0.25, 0.25), 49.0),
        ((0.25, 0.25, 0.25, 0.25, 0.0), 33.0),
    ],
)
def test_latency_counts_the_hops_that_smoothing_waits_for(
    signature: Signature, smoothing: tuple[float, ...], latency_ms: float
) -> None:
    assert replace(signature, smoothing=smoothing).latency_ms == latency_ms


def test_64_ms_of_future_come_to_80_ms(signature: Signature) -> None:
    """As long as the paper's three predictions 16.7 ms apart, and one prediction a pose."""
    tier = replace(signature, window=8192, past=7168, future=1024, smoothing=(1.0,))
    assert (tier.past_ms, tier.hop_ms, tier.latency_ms) == (448.0, 16.0, 80.0)
    said = latency_in_words(tier.future_ms, tier.hop_ms, tier.smoothing_ms)
    assert said == "future 64 ms + hop 16 ms = 80 ms"
    assert (
        latency_in_words(64.0, 16.0, 16.0) == "future 64 ms + hop 16 ms + smoothing 16 ms = 96 ms"
    )


def test_json_round_trip_is_exact(signature: Signature, tmp_path: Path) -> None:
    odd = replace(
        signature,
        constants={"tongueOut": 0.1 + 0.2},
        teacher="Größe → 顔",
        quantization={"audio": {"scale": 1e-05, "zero_point": -3}, "kept": ["head"]},
    )
    odd.write(tmp_path / "signature.json")
    assert Signature.read(tmp_path / "signature.json") == odd
    assert Signature.from_json(odd.to_json()).to_json() == odd.to_json()


def test_all_mistakes_are_reported_together(signature: Signature) -> None:
    with pytest.raises(ValueError, match="past 47") as error:
        replace(
            signature,
            past=47,
            hop=0,
            driven=("jawOpen", "jawOpen", "browUp"),
            constants={"jawOpen": float("nan")},
            smoothing=(0.5, 0.6, 0.1),
        )
    message = str(error.value)
    for part in (
        "past 47 + future 16 samples is not the window of 64",
        "hop is 0",
        "driven names jawOpen more than once",
        "browUp, which controls lacks",
        "jawOpen cannot be driven and constant",
        "mouthClose, mouthPucker, tongueOut must be in driven or in constants",
        "constant of jawOpen is nan",
        "smoothing (0.5, 0.6, 0.1)",
    ):
        assert part in message


@pytest.mark.parametrize(
    "change",
    [
        {"smoothing": ()},
        {"smoothing": (0.5, 0.5)},
        {"smoothing": (-0.5, 1.0, 0.5)},
        {"driven": (), "constants": {}},
        {"past": -16, "future": 80},
        {"sample_rate_hz": 0},
    ],
)
def test_impossible_values_are_refused(signature: Signature, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        replace(signature, **change)  # type: ignore[arg-type]


def test_unknown_and_missing_keys_are_both_named(signature: Signature) -> None:
    data = json.loads(signature.to_json())
    del data["window"]
    data["colour"] = "blue"
    data["hop"] = "256"
    with pytest.raises(ModelFileError, match="window: Field required") as error:
        Signature.from_json(json.dumps(data), source="model.onnx")
    for part in ("model.onnx", "colour", "hop: Input should be a valid integer"):
        assert part in str(error.value)


def test_contradictions_in_a_file_are_a_file_error(signature: Signature) -> None:
    data = json.loads(signature.to_json()) | {"future": 17}
    with pytest.raises(ModelFileError, match="past 48 \\+ future 17"):
        Signature.from_json(json.dumps(data))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_damaged_file_is_a_file_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signature.json"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"signature\.json"):
        Signature.read(path)


def test_missing_file_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.json"):
        Signature.read(tmp_path / "none.json")


def test_nan_is_not_written(signature: Signature) -> None:
    bad = replace(signature, quantization={"audio": {"scale": float("inf")}})
    with pytest.raises(ValueError, match=r"quantization\.audio\.scale is inf"):
        bad.to_json()
