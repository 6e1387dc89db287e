"""Reading a file of speech: mono 16 kHz samples out."""

from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import BadAudio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
HOP = 256  # samples: the grid of frames on which students are trained
HOP_RATE = SAMPLE_RATE / HOP  # 62.5 frames a second

# −80 dB of full scale: below the noise floor of any recording of speech.
SILENT_PEAK = 1e-4
# Decoders overshoot full scale a little; a file of 16-bit integers stored as floats is far above.
LOUDEST_PEAK = 4.0
# Outside of these the header is damaged, and the resampling filter could be of any length.
SAMPLE_RATES = range(4_000, 384_001)


def read(path: Path | str) -> "NDArray[np.float32]":
    """Audio of a file as float32 [samples], mono, −1..1, 16 000 Hz.

    Channels are averaged, other sample rates resampled by a polyphase filter. Raises BadAudio when
    the file cannot be decoded, is silent or empty, or holds samples that are no number or off scale.
    """
    import numpy as np
    import soundfile
    from scipy.signal import resample_poly

    if not Path(path).is_file():  # a pipe would wait for ever
        raise BadAudio(path, "no file, or a broken link")
    try:
        rate = soundfile.info(path).samplerate
        if rate not in SAMPLE_RATES:
            accepted = f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz"
            raise BadAudio(path, f"its sample rate is {rate} Hz, expected {accepted}")
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadAudio(path, f"not readable as audio: {error.error_string}") from error
    if len(channels) == 0:
        raise BadAudio(path, "it holds no samples")
    if not np.isfinite(channels).all():
        raise BadAudio(path, "it holds samples that are NaN or infinite")
    peak = float(np.abs(channels).max())
    if peak > LOUDEST_PEAK:
        raise BadAudio(path, f"its peak is {peak:g}, expected samples in −1..1")
    audio: NDArray[np.float32] = channels.mean(axis=1)
    if rate != SAMPLE_RATE:
        common = gcd(rate, SAMPLE_RATE)
        audio = resample_poly(audio, SAMPLE_RATE // common, rate // common)
    # After averaging and resampling: opposite channels cancel, and ultrasound is not speech.
    peak = float(np.abs(audio).max())
    if peak < SILENT_PEAK:
        raise BadAudio(path, f"silent: its peak is {peak:.1e}, expected at least {SILENT_PEAK:.0e}")
    return np.clip(audio, -1.0, 1.0).astype(np.float32, copy=False)
