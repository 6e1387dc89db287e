"""Golden windows: what is in them, their bytes, and what a comparison finds."""

import io
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters.errors import ExportFailed, MissingToolError, ModelFileError
from exporters.proof.golden import FEWEST, Golden, compare, make_golden, read
from exporters.signature import Signature
from exporters.targets.onnx import target as onnx_target
from exporters.targets.runtime import Codes, Floats


class Spoken:
    """A runtime that answers what it is told to; only what `compare` asks for."""

    def __init__(
        self, signature: Signature, rig: Floats, codes: Codes | MissingToolError | None = None
    ) -> None:
        self.signature = signature
        self._rig, self._codes = rig, codes

    def run(self, audio: Floats) -> Floats:
        return self._rig

    def codes(self, audio: Floats) -> Codes | None:
        if isinstance(self._codes, MissingToolError):
            raise self._codes
        return self._codes

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        raise NotImplementedError

    def describe(self) -> dict[str, str]:
        return {"runtime": "told"}


@pytest.fixture
def golden(student: nn.Module, signature: Signature, speech: np.ndarray) -> Golden:
    return make_golden(student, signature, speech, max_abs=1e-5)


@pytest.fixture
def with_codes(
    integer_student: nn.Module, integer_signature: Signature, speech: np.ndarray
) -> Golden:
    return make_golden(integer_student, integer_signature, speech, max_abs=2e-3, max_lsb=1)


# ------------------------------------------------------------------------------------------- made


def test_speech_comes_first_and_what_speech_seldom_shows_after(
    golden: Golden, speech: np.ndarray, student: nn.Module
) -> None:
    kinds = Counter(golden.kinds)
    assert np.array_equal(golden.windows[: len(speech)], speech)
    assert golden.kinds[: len(speech)] == ("speech",) * len(speech)
    assert {"silence", "full-scale noise", "clipped audio", "denormals"} < set(kinds)
    for level in (-70, -40, -10):
        at_level = [
            window
            for window, kind in zip(golden.windows, golden.kinds, strict=True)
            if kind == f"noise at {level} dB"
        ]
        loudness = 20 * np.log10(np.sqrt(np.mean(np.square(at_level, dtype=np.float64))))
        # 64 or 128 samples of noise tell their level to about a decibel.
        assert loudness == pytest.approx(level, abs=3)
    with torch.inference_mode():
        expected = student(torch.from_numpy(golden.windows)).numpy()
    assert np.array_equal(golden.rig, expected)
    assert golden.codes is None
    assert np.abs(golden.windows).max() == 1


@pytest.mark.parametrize("spoken", [0, 1, 22, 23, 24, 100])
def test_there_are_enough_whatever_is_handed_in(
    student: nn.Module, signature: Signature, spoken: int
) -> None:
    speech = np.zeros((spoken, 1, 64), np.float32)
    made = make_golden(student, signature, speech, max_abs=1e-5)
    assert len(made.windows) == len(made.rig) == len(made.kinds) >= max(FEWEST, spoken)
    assert len(made.windows) < FEWEST + 7 or spoken > 10
    assert len({kind for kind in made.kinds if kind.startswith("noise at")}) == 7


def test_seeds_and_callers_module(
    student: nn.Module, signature: Signature, speech: np.ndarray
) -> None:
    student.train()
    first, again, other = (
        make_golden(student, signature, speech, max_abs=1e-5, seed=seed) for seed in (1, 1, 2)
    )
    assert student.training, "the caller's module is left as it was"
    assert first.to_bytes() == again.to_bytes() != other.to_bytes()


def test_codes_of_an_integer_source(with_codes: Golden, integer_student: nn.Module) -> None:
    assert with_codes.codes is not None
    assert (with_codes.codes.dtype, with_codes.max_lsb) == (np.int8, 1)
    with torch.inference_mode():
        expected = integer_student.codes(torch.from_numpy(with_codes.windows))  # type: ignore[operator]
    assert np.array_equal(with_codes.codes, expected.numpy())


class Broken(nn.Module):
    """Gives a value that is none for the loudest window only."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        loud = audio[:, 0, :3]
        return torch.where(audio.abs().amax(2) == 1, loud / 0, loud)


def test_a_source_that_gives_no_numbers(signature: Signature, speech: np.ndarray) -> None:
    with pytest.raises(ExportFailed, match="tiny gives values that are not finite"):
        make_golden(Broken(), signature, speech, max_abs=1e-5)
    with pytest.raises(ExportFailed, match=r"tiny gives \[\d+, 1, 64\].*\[\d+, 3\]"):
        make_golden(nn.Identity(), signature, speech, max_abs=1e-5)


def test_impossible_settings(student: nn.Module, signature: Signature, speech: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
        make_golden(student, signature, speech[..., :50], max_abs=1e-5)
    with pytest.raises(ValueError, match="max_abs is nan"):
        make_golden(student, signature, speech, max_abs=float("nan"))


# ------------------------------------------------------------------------------------------- read


def test_bytes_come_back(golden: Golden, with_codes: Golden, tmp_path: Path) -> None:
    for made in (golden, with_codes):
        path = tmp_path / "golden.npz"
        path.write_bytes(made.to_bytes())
        found = read(path)
        assert np.array_equal(found.windows, made.windows)
        assert np.array_equal(found.rig, made.rig)
        assert (found.kinds, found.max_abs, found.max_lsb) == (
            made.kinds,
            made.max_abs,
            made.max_lsb,
        )
        assert (found.codes is None) == (made.codes is None)
        assert made.codes is None or np.array_equal(found.codes, made.codes)  # type: ignore[arg-type]
        assert found.to_bytes() == made.to_bytes()


def refused(path: Path, *said: str) -> bool:
    with pytest.raises(ModelFileError) as error:
        read(path)
    text = str(error.value)
    assert "\n" not in text, "one paragraph"
    return all(word in text for word in (str(path), *said))


def test_files_that_are_none(golden: Golden, tmp_path: Path) -> None:
    path, whole = tmp_path / "golden.npz", golden.to_bytes()
    assert refused(path, "FileNotFoundError")
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[1000:]):
        path.write_bytes(content)
        assert refused(path)
    array = io.BytesIO()
    np.save(array, golden.windows)
    path.write_bytes(array.getvalue())
    assert refused(path)
    path.unlink()
    path.mkdir()
    assert refused(path)


def test_no_byte_can_be_wrong_unnoticed(golden: Golden, tmp_path: Path) -> None:
    # Damage is found, or does not matter: a few bytes of an archive stand for nothing.
    path, whole = tmp_path / "golden.npz", golden.to_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 100).tolist()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        starts = [entry.header_offset for entry in archive.infolist()]
    headers = [start + step for start in starts for step in range(0, 200, 3)]
    found = 0
    for place in (*places, *headers, *range(len(whole) - 300, len(whole), 3)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            again = read(path)
        except ModelFileError:
            found += 1
        else:
            assert again.to_bytes() == whole
    assert found > 300


def test_an_array_that_is_missing_or_does_not_fit(
    golden: Golden, with_codes: Golden, tmp_path: Path
) -> None:
    path = tmp_path / "golden.npz"
    whole = dict(np.load(io.BytesIO(with_codes.to_bytes())))

    def without(name: str) -> dict[str, np.ndarray]:
        return {key: array for key, array in whole.items() if key != name}

    for name in whole:
        np.savez(path, **without(name))
        assert refused(path, "it holds")
        np.savez(path, **without(name), other=whole[name])
        assert refused(path, "other")
    wrong = {
        "audio": [whole["audio"][:-1], whole["audio"].astype(np.float64), whole["audio"][:, 0]],
        "rig": [whole["rig"][:, :0], whole["rig"][1:], whole["rig"] * np.float32("nan")],
        "kinds": [whole["kinds"][1:], np.array("speech")],
        "codes": [whole["codes"].astype(np.int32), whole["codes"][..., 0]],
        "max_abs": [np.float64("inf"), np.float64(-1), np.zeros(3)],
        "max_lsb": [np.int64(-1), np.zeros(2)],
    }
    assert set(wrong) == set(whole)
    for name, arrays in wrong.items():
        for array in arrays:
            np.savez(path, **without(name), **{name: array})
            assert refused(path)
    np.savez(path, **{key: array[:0] if array.ndim else array for key, array in whole.items()})
    assert refused(path, "empty")


def test_a_pickle_is_not_opened(tmp_path: Path, golden: Golden) -> None:
    path, opened = tmp_path / "golden.npz", tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (opened,))

    whole = dict(np.load(io.BytesIO(golden.to_bytes())))
    np.savez(path, **{**whole, "kinds": np.array([Trap()], object)})
    assert refused(path, "pickle")
    assert not opened.exists()


# --------------------------------------------------------------------------------------- compared


def test_a_file_answers_as_its_source(golden: Golden, model_file: Path) -> None:
    outcome = compare(onnx_target.open_runtime(model_file), golden)
    assert outcome.status == "passed", outcome.detail
    assert f"{len(golden.kinds)} windows, at most " in outcome.detail


def test_an_int8_file_answers_as_its_source(with_codes: Golden, integer_file: Path) -> None:
    outcome = compare(onnx_target.open_runtime(integer_file), with_codes)
    assert outcome.status == "passed", outcome.detail
    assert "codes at most " in outcome.detail


def test_a_difference_is_located(golden: Golden, signature: Signature) -> None:
    rig = golden.rig.copy()
    rig[7, 1] += 0.5
    rig[9, 2] -= 0.25
    outcome = compare(Spoken(signature, rig), golden)
    assert outcome.status == "failed"
    assert outcome.detail.startswith(f"2 of {len(rig)} windows differ by more than 1e-05")
    assert f"mouthClose on {golden.kinds[7]} (window 7)" in outcome.detail
    assert f"is {rig[7, 1]:.6g}, expected {golden.rig[7, 1]:.6g}" in outcome.detail


def test_the_same_numbers_have_no_worst_window(golden: Golden, signature: Signature) -> None:
    outcome = compare(Spoken(signature, golden.rig), golden)
    assert outcome.detail == f"{len(golden.kinds)} windows, no difference where 1e-05 may be"


def test_the_limit_itself_may_be_reached(golden: Golden, signature: Signature) -> None:
    made = replace(golden, rig=np.zeros_like(golden.rig), max_abs=0.5)
    for added, status in ((0.5, "passed"), (0.50001, "failed")):
        assert compare(Spoken(signature, made.rig + np.float32(added)), made).status == status


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_fails(golden: Golden, signature: Signature, value: float) -> None:
    rig = golden.rig.copy()
    rig[3, 0] = value
    outcome = compare(Spoken(signature, rig), golden)
    assert outcome.status == "failed"
    assert f"jawOpen on {golden.kinds[3]} (window 3) is {value}" in outcome.detail


def test_another_shape_fails(golden: Golden, signature: Signature) -> None:
    outcome = compare(Spoken(signature, golden.rig[:, :2]), golden)
    assert (outcome.status, "expected" in outcome.detail) == ("failed", True)


def test_windows_of_another_file(golden: Golden, signature: Signature) -> None:
    other = replace(signature, window=128, past=112)
    with pytest.raises(ModelFileError, match="64 samples and 3 controls, expected 128 and 3"):
        compare(Spoken(other, golden.rig), golden)


def test_codes_are_compared_as_integers(with_codes: Golden, integer_signature: Signature) -> None:
    assert with_codes.codes is not None
    codes = np.full_like(with_codes.codes, 127)
    made, turned = replace(with_codes, codes=codes), codes.copy()
    turned[4, 1, 2] = -128  # a step above 127, were it not for the sign
    outcome = compare(Spoken(integer_signature, made.rig, turned), made)
    assert outcome.status == "failed"
    assert outcome.detail.endswith(
        f"1 of {codes.size} codes differ: the largest difference is 255 steps, limit 2; worst: "
        f"channel 1, step 2 on "
        f"{made.kinds[4]} (window 4) is -128, expected 127"
    )
    near = codes.copy()
    near[::7, 0, 0] = 126
    assert compare(Spoken(integer_signature, made.rig, near), made).status == "passed"
    all_of_them = compare(Spoken(integer_signature, made.rig, np.full_like(codes, 126)), made)
    assert "rounds in another way" in all_of_them.detail


def test_codes_on_one_side_only(with_codes: Golden, integer_signature: Signature) -> None:
    rig, codes = with_codes.rig, with_codes.codes
    outcome = compare(Spoken(integer_signature, rig, None), with_codes)
    assert (outcome.status, "the file gives no codes" in outcome.detail) == ("failed", True)
    without = replace(with_codes, codes=None, max_lsb=None)
    outcome = compare(Spoken(integer_signature, rig, codes), without)
    assert (outcome.status, "expected no codes" in outcome.detail) == ("failed", True)
    outcome = compare(Spoken(integer_signature, rig, None), without)
    assert (outcome.status, "codes" in outcome.detail) == ("passed", False)


def test_codes_that_cannot_be_read_have_not_passed(
    with_codes: Golden, integer_signature: Signature
) -> None:
    missing = MissingToolError("onnx is needed")
    with pytest.raises(MissingToolError, match="onnx is needed"):
        compare(Spoken(integer_signature, with_codes.rig, missing), with_codes)
    # What failed without them has failed.
    wrong = compare(Spoken(integer_signature, with_codes.rig + 1, missing), with_codes)
    assert wrong.status == "failed"


def test_a_float_file_is_not_asked_for_codes(golden: Golden, signature: Signature) -> None:
    missing = MissingToolError("onnx is needed")
    assert compare(Spoken(signature, golden.rig, missing), golden).status == "passed"
