"""The report's pictures: what they show, and what must not stop them."""

import numpy as np

from exporters.report.pictures.plots import plot_clip
from exporters.report.records.clips import Span
from tests.exporters.told import clip


def pixels(png: bytes) -> np.ndarray:
    """RGB of a PNG, uint8 [height, width, 3]."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_picture_shows_teacher_student_and_sealed_lips() -> None:
    with_all, without = pixels(plot_clip(clip())), pixels(plot_clip(clip(sealed=())))

    def count(picture: np.ndarray, colour: str) -> int:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return int((picture == wanted).all(axis=2).sum())

    assert with_all.shape == without.shape
    for picture in (with_all, without):
        assert count(picture, "#0072b2") > 500
        assert count(picture, "#b5b5b5") > 500
    changed = (with_all != without).any(axis=2)
    assert changed.sum() > 1000


def test_dollars_in_speech_are_not_mathematics() -> None:
    # Read as a formula, an unknown command between dollar signs stops matplotlib.
    assert plot_clip(clip(text="It was $\\five$ then")) != plot_clip(clip(text=""))


def test_scripts_that_the_font_lacks_do_not_warn() -> None:
    assert plot_clip(clip(text="こんにちは", clip="日本")) != plot_clip(clip(text=""))


def test_many_phones_give_way() -> None:
    spans = tuple(
        Span(label="a", start_s=0.003 * index, end_s=0.003 * (index + 1)) for index in range(100)
    )
    assert plot_clip(clip(phones=spans)) == plot_clip(clip(phones=()))
