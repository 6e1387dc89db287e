"""Everything the demo teacher learns from and is judged on, as clips with rule-based curves."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import Side, prompt_id, split, watched
from compress.speech.visemes import Segment, segments_of
from recipes.build import corpus, voices
from recipes.build.alignment import align
from recipes.build.synthesis import Spoken, espeak, festival, flite

MAX_CLIP_S = 20.0


@dataclass(frozen=True)
class LabelledClip:
    """Audio, float32 `[samples]` at 16 kHz, with its viseme segments.

    `group` is what is reported together (``real en``, ``espeak``, …); `voice` who speaks.
    """

    group: str
    voice: str
    language: str
    audio: np.ndarray
    segments: tuple[Segment, ...]
    text: str = ""
    watched: bool = False  # set aside from training, to watch it

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE


def real_clips(language: str, side: Side | None) -> Iterator[LabelledClip]:
    """Aligned prompts of a language on one side of the split (both when None); what cannot be aligned is left out."""
    for prompt in corpus.prompts(language):
        if side is not None and prompt.side != side:
            continue
        audio = corpus.read_g722(prompt.path)
        if not 0.4 <= len(audio) / SAMPLE_RATE <= MAX_CLIP_S:
            continue
        phones = align(prompt, audio)
        if phones:
            segments = tuple(_silent_start(segments_of(phones), audio))
            yield LabelledClip(
                f"real {language}",
                corpus.SPEAKERS[language],
                language,
                audio,
                segments,
                prompt.text,
            )


def _silent_start(segments: list[Segment], audio: np.ndarray) -> list[Segment]:
    """Give the quiet before the first sound back to silence: the aligner counts it to the first phone."""
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    onset = float(loud[0]) / SAMPLE_RATE - 0.02
    first = segments[0]
    # Lips close for a stop in the quiet before its burst, so a stop keeps its length.
    if first.viseme in ("sil", "PP") or not first.start + 0.03 < onset < first.end - 0.03:
        return segments
    return [Segment("sil", first.start, onset), replace(first, start=onset), *segments[1:]]


def synthetic_clips(side: Side, minutes: dict[str, float], seed: int) -> Iterator[LabelledClip]:
    """Synthetic speech, so many minutes of each synthesizer; on the held-out side by voices never trained on."""
    texts, rng = voices.texts(side), random.Random(seed)
    for group, speak in (
        ("espeak", _espeak_lines),
        ("flite", _flite_lines),
        ("festival", _festival_lines),
    ):
        spoken_s = 0.0
        for clip in speak(texts, rng):
            if 0.8 <= clip.seconds <= MAX_CLIP_S and len(clip.segments) > 4:
                yield clip
                spoken_s += clip.seconds
            if spoken_s >= 60 * minutes[group]:
                break


def _clip(group: str, voice: str, language: str, spoken: Spoken, text: str) -> LabelledClip:
    audio = spoken[0] / max(1e-3, float(np.abs(spoken[0]).max(initial=0))) * 0.5
    return LabelledClip(group, voice, language, audio.astype(np.float32), tuple(spoken[1]), text)


def _espeak_lines(texts: voices.Texts, rng: random.Random) -> Iterator[LabelledClip]:
    heldout = texts.side == "heldout"
    languages = [
        name for name, (_, weight) in voices.ESPEAK_LANGUAGES.items() for _ in range(weight)
    ]
    while True:
        language = rng.choice(languages)
        word_list = voices.ESPEAK_LANGUAGES[language][0]
        variant = rng.choice(voices.HELD_OUT_ESPEAK_VARIANTS if heldout else voices.ESPEAK_VARIANTS)
        if heldout and rng.random() < 0.3:
            language, word_list = rng.choice(list(voices.HELD_OUT_ESPEAK_LANGUAGES.items()))
        text = texts.draw(rng, language, word_list)
        wpm, pitch, spread = rng.randint(120, 230), rng.randint(20, 80), rng.randint(30, 80)
        spoken = espeak().say(text, language + variant, wpm, pitch, spread)
        yield _clip("espeak", language + variant, language, spoken, text)


def _flite_lines(texts: voices.Texts, rng: random.Random) -> Iterator[LabelledClip]:
    names = voices.HELD_OUT_FLITE if texts.side == "heldout" else voices.FLITE
    while True:
        voice, text = rng.choice(names), texts.draw(rng, "en", "american-english")
        yield _clip(
            "flite", f"flite {voice}", "en", flite(text, voice, rng.uniform(0.75, 1.35)), text
        )


def _festival_lines(texts: voices.Texts, rng: random.Random) -> Iterator[LabelledClip]:
    table = voices.HELD_OUT_FESTIVAL if texts.side == "heldout" else voices.FESTIVAL
    while True:
        voice, (alphabet, word_list) = rng.choice(list(table.items()))
        language = word_list[:2] if word_list != "american-english" else "en"
        lines = [
            (voice, rng.uniform(0.8, 1.3), texts.draw(rng, language, word_list)) for _ in range(20)
        ]
        for (_, _, text), spoken in zip(lines, festival(lines, alphabet), strict=True):
            if spoken is not None:
                yield _clip("festival", f"festival {voice}", language, spoken, text)


def natural_clips(folder: Path, side: Side) -> Iterator[LabelledClip]:
    """Natural synthetic voices of one side, as `recipes.build.natural` made them."""
    import soundfile

    for name, entry in json.loads((folder / "alignments.json").read_text("utf-8")).items():
        if split(prompt_id(name)) != side:
            continue
        audio, _ = soundfile.read(folder / f"{name}.flac", dtype="float32")
        segments = tuple(Segment(*timed) for timed in entry["visemes"])
        language = name.split("/")[1]
        aside = watched(prompt_id(name))
        yield LabelledClip(
            "natural", entry["voice"], language, audio, segments, entry["text"], aside
        )


def rest_clips(folder: Path, side: Side) -> Iterator[LabelledClip]:
    """Sound that is not speech, as `recipes.build.not_speech` made it: the face rests."""
    import soundfile

    for path in sorted(folder.rglob("*.flac")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if split(prompt_id(name)) == side:
            audio, _ = soundfile.read(path, dtype="float32")
            yield LabelledClip("rest", path.parent.name, "", audio, ())


def varied(clip: LabelledClip, rng: np.random.Generator) -> LabelledClip:
    """The clip as another voice in another room: speed with pitch and formants, echo, noise, band limit, level."""
    audio, segments = clip.audio, clip.segments
    if rng.random() < 0.6:
        down = int(rng.integers(84, 120))  # played at down/100 of its speed-1 length⁻¹
        audio = resample_poly(audio, 100, down).astype(np.float32)
        segments = tuple(
            replace(s, start=s.start * 100 / down, end=s.end * 100 / down) for s in segments
        )
    if rng.random() < 0.4:
        decay_s = rng.uniform(0.03, 0.15)
        tail = rng.standard_normal(int(decay_s * 4 * SAMPLE_RATE))
        tail *= np.exp(-np.arange(len(tail)) / (decay_s * SAMPLE_RATE)) * rng.uniform(0.01, 0.06)
        tail[0] = 1.0
        audio = fftconvolve(audio, tail)[: len(audio)].astype(np.float32)
    if rng.random() < 0.3:
        cutoff_hz = rng.uniform(3000, 7000)
        audio = sosfilt(butter(4, cutoff_hz, fs=SAMPLE_RATE, output="sos"), audio).astype(
            np.float32
        )
    audio = audio * np.float32(10 ** (rng.uniform(-30, 6) / 20))
    if rng.random() < 0.7:
        level = float(np.sqrt((audio.astype(np.float64) ** 2).mean())) * 10 ** (
            -rng.uniform(10, 45) / 20
        )
        audio = audio + (level * rng.standard_normal(len(audio))).astype(np.float32)
    return replace(clip, audio=np.clip(audio, -1, 1).astype(np.float32), segments=segments)
