"""Synthetic speech with exact phone times: espeak-ng through its library, flite and Festival through their commands.

Each function gives float32 `[samples]` audio at 16 kHz and a list of (phone, start s, end s).
"""

import ctypes
import re
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from compress.speech.audio import SAMPLE_RATE
from compress.speech.visemes import Phone, Segment, arpabet_visemes, segments_of
from recipes.build.phones import ipa_visemes, sampa_visemes

Spoken = tuple[np.ndarray, list[Segment]]

_ALPHABETS = {"arpabet": arpabet_visemes, "sampa": sampa_visemes}


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
_PHONEME_EVENT, _END_OF_EVENTS = 7, 0
_AUDIO_OUTPUT_SYNCHRONOUS, _PHONEME_EVENTS_IPA, _CHARS_UTF8 = 2, 1 | 2, 1
_RATE_WPM, _PITCH, _PITCH_RANGE = 1, 3, 4


class Espeak:
    """espeak-ng's library. It keeps global state, the callback too: take the one of `espeak()`."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate_hz = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 200, None, _PHONEME_EVENTS_IPA
        )
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only the pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []

    def _receive(self, samples, count, events) -> int:  # type: ignore[no-untyped-def]
        if count > 0 and samples:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != _END_OF_EVENTS:
            if events[i].type == _PHONEME_EVENT:
                label = bytes(events[i].id.string).split(b"\0")[0].decode("utf8", "replace")
                self._events.append((events[i].sample, label))
            i += 1
        return 0

    def phones(self, text: str, voice: str) -> tuple[np.ndarray, list[Phone]]:
        """Audio at 16 kHz and IPA phones with their times."""
        return self._speak(text, voice, 170, 50, 50)

    def _speak(self, text: str, voice: str, wpm: int, pitch: int, pitch_range: int):  # type: ignore[no-untyped-def]
        self._pieces, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE_WPM, wpm), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        starts = [sample / self._rate_hz for sample, _ in self._events] + [
            len(samples) / self._rate_hz
        ]
        phones = [(label, starts[i], starts[i + 1]) for i, (_, label) in enumerate(self._events)]
        return _to_16k(samples.astype(np.float32) / 32768, self._rate_hz), phones

    def say(
        self, text: str, voice: str, wpm: int = 175, pitch: int = 50, pitch_range: int = 50
    ) -> Spoken:
        """Speak a text. espeak's stop events sit at the burst; the closure is given back to the stop."""
        audio, phones = self._speak(text, voice, wpm, pitch, pitch_range)
        return audio, segments_of(
            _close_before_burst(drop_voiced_pauses(phones, audio), audio), ipa_visemes
        )


@cache
def espeak() -> Espeak:
    """The one instance of this process: a second would leave the library calling the first's callback."""
    return Espeak()


def _close_before_burst(phones: list[Phone], audio: np.ndarray) -> list[Phone]:
    """Start each voiceless stop where the quiet before its burst starts, at the cost of the phone before it."""
    step, longest, quiet = 80, 18, 0.006  # 5 ms steps, 90 ms at the most
    fixed: list[Phone] = []
    for label, start, end in phones:
        if label[:1] in ("p", "t", "k", "c", "q") and fixed:
            burst, steps = int(start * SAMPLE_RATE), 0
            while steps < longest and burst - (steps + 1) * step >= 0:
                if (
                    np.abs(audio[burst - (steps + 1) * step : burst - steps * step]).max(initial=0)
                    >= quiet
                ):
                    break
                steps += 1
            if 0 < steps < longest:
                before, before_start, before_end = fixed[-1]
                start = max(start - steps * step / SAMPLE_RATE, before_start + 0.015)
                fixed[-1] = (before, before_start, min(before_end, start))
        fixed.append((label, start, end))
    return fixed


def drop_voiced_pauses(phones: list[Phone], audio: np.ndarray) -> list[Phone]:
    """Give a short pause that is not silent to the phone before it: espeak marks word gaps inside running speech."""
    kept: list[Phone] = []
    for label, start, end in phones:
        piece = audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        is_pause = not label or label[0] in "_(" or all(c in "_:ː ˈˌ|" for c in label)
        if (
            is_pause
            and kept
            and end - start < 0.25
            and len(piece)
            and np.sqrt((piece**2).mean()) > 0.012
        ):
            kept[-1] = (kept[-1][0], kept[-1][1], end)
        else:
            kept.append((label, start, end))
    return kept


def flite(text: str, voice: str, stretch: float = 1.0) -> Spoken:
    """Speak with flite; ``-psdur`` prints each phone with its end time."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "-psdur",
            "--setf",
            f"duration_stretch={stretch}",
            "-t",
            text,
            "-o",
            str(wav),
        ]
        printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        audio, rate_hz = soundfile.read(wav, dtype="float32")
    phones, start = [], 0.0
    for token in printed.split():
        label, end = token.rsplit(":", 1)
        phones.append((label, start, float(end)))
        start = float(end)
    return _to_16k(audio, rate_hz), segments_of(phones)


_FESTIVAL = """(voice_{voice})
(Parameter.set 'Duration_Stretch {stretch})
(set! u (utt.synth (Utterance Text "{text}")))
(utt.save.segs u "{stem}.lab")
(utt.save.wave u "{stem}.wav" 'riff)
"""


def festival(lines: Sequence[tuple[str, float, str]], alphabet: str) -> list[Spoken | None]:
    """Speak (voice, stretch, text) lines in one Festival process; None for a line that it could not speak."""
    import soundfile

    spoken: list[Spoken | None] = []
    with tempfile.TemporaryDirectory() as folder:
        stems = [Path(folder) / str(i) for i in range(len(lines))]
        script = Path(folder) / "all.scm"
        script.write_text(
            "".join(
                _FESTIVAL.format(
                    voice=voice, stretch=stretch, text=re.sub(r'["\\]', "", text), stem=stem
                )
                for (voice, stretch, text), stem in zip(lines, stems, strict=True)
            ),
            encoding="latin-1",  # Festival reads bytes, and its Italian voices stop at UTF-8's
            errors="ignore",
        )
        subprocess.run(["festival", "-b", str(script)], capture_output=True)
        for stem in stems:
            wav, lab = stem.with_suffix(".wav"), stem.with_suffix(".lab")
            if not wav.exists() or not lab.exists():
                spoken.append(None)
                continue
            audio, rate_hz = soundfile.read(wav, dtype="float32")
            phones, start = [], 0.0
            for line in lab.read_text().splitlines():
                fields = line.split()
                if len(fields) == 3 and fields[0] != "#":
                    phones.append((fields[2], start, float(fields[0])))
                    start = float(fields[0])
            spoken.append((_to_16k(audio, rate_hz), segments_of(phones, _ALPHABETS[alphabet])))
    return spoken


def _to_16k(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    if rate_hz == SAMPLE_RATE:
        return audio.astype(np.float32)
    divisor = gcd(rate_hz, SAMPLE_RATE)
    return resample_poly(audio, SAMPLE_RATE // divisor, rate_hz // divisor).astype(np.float32)
