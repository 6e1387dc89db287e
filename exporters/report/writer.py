"""Write a report, and make its readable parts again from ``report.json`` and what lies beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from exporters import records
from exporters.atomic import write_atomically
from exporters.errors import ModelFileError
from exporters.report.records.clips import Clip, Clips, read_clips
from exporters.report.records.document import ReportDocument, read_report
from exporters.requirements import require

REPORT_JSON = "report.json"
REPORT_CLIPS = "clips.json"
REPORT_MARKDOWN = "report.md"
REPORT_PAGE = "report.html"
REPORT_JUNIT = "parity.junit.xml"
NO_CLIPS = Clips(clips=())
NO_AUDIO: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """What was written."""

    json: Path
    markdown: Path
    page: Path
    junit: Path
    images: tuple[Path, ...]


def write_report(
    document: ReportDocument,
    folder: Path,
    clips: Clips = NO_CLIPS,
    audio: Mapping[str, bytes] = NO_AUDIO,
) -> ReportFiles:
    """Write ``report.json``, its clips and their audio, then all that is made from them.

    `audio` has a FLAC file for each clip by its name. Each file appears whole or not at all. Raises
    ValueError that names every number which is not finite, before anything is written, and
    MissingToolError.
    """
    text, curves = records.to_json(document), records.to_json(clips)
    write_atomically(folder / REPORT_JSON, text.encode())
    if clips.clips:
        write_atomically(folder / REPORT_CLIPS, curves.encode())
    for name, content in audio.items():
        write_atomically(folder / name, content)
    return render(folder)


def render(folder: Path) -> ReportFiles:
    """Make the page, ``report.md``, ``parity.junit.xml`` and the pictures from the rest of `folder`.

    Without ``clips.json`` beside ``report.json`` there is nothing to play, and no picture of curves
    is made. Raises ModelFileError if one of them is wrong, or the latter missing, and
    MissingToolError.
    """
    require("jinja2", "matplotlib", purpose="render reports")
    from exporters.report.cases import cases
    from exporters.report.junit import to_junit
    from exporters.report.page.html import to_page
    from exporters.report.pictures.plots import plot_clip, plot_training
    from exporters.report.sections.markdown import to_markdown

    document = read_report(folder / REPORT_JSON)
    clips = _clips(folder)
    pictures = [(training.image, plot_training(training)) for training in document.training]
    pictures += [(clip.image, plot_clip(clip)) for clip in clips if clip.tiers]
    for image, content in pictures:
        write_atomically(folder / image, content)
    write_atomically(folder / REPORT_MARKDOWN, to_markdown(document, bool(clips)).encode())
    page = to_page(document, Clips(clips=clips), {c.audio: _audio(folder, c) for c in clips})
    write_atomically(folder / REPORT_PAGE, page.encode())
    junit = to_junit(list(cases(document)), suite=document.name, properties=document.versions)
    write_atomically(folder / REPORT_JUNIT, junit.encode())
    return ReportFiles(
        json=folder / REPORT_JSON,
        markdown=folder / REPORT_MARKDOWN,
        page=folder / REPORT_PAGE,
        junit=folder / REPORT_JUNIT,
        images=tuple(folder / image for image, _ in pictures),
    )


def _clips(folder: Path) -> tuple[Clip, ...]:
    path = folder / REPORT_CLIPS
    return read_clips(path).clips if path.exists() else ()


def _audio(folder: Path, clip: Clip) -> bytes:
    try:
        return (folder / clip.audio).read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{folder / REPORT_CLIPS} names the audio {clip.audio} of {clip.clip}, which cannot be "
            f"read beside it: {error.strerror}. Run the recipe again, or remove {REPORT_CLIPS} for a "
            f"report without a player."
        ) from error
