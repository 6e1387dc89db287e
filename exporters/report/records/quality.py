"""What was measured of curves on held-out speech: as it is judged, kept, reported and compared."""

from dataclasses import dataclass, field

from exporters import records
from exporters.report.records.chain import Measurements
from exporters.report.records.clip_sums import ClipSums
from exporters.report.records.kinds import KindFigures
from exporters.report.records.not_speech import NotSpeech

Parts = dict[str, dict[str, float | None]]


@records.strict
@dataclass(frozen=True, kw_only=True)
class Quality:
    """Metrics by name, averaged over the driven controls.

    null is not measured: the speech does not allow it, or what came out is no number.
    """

    against_teacher: Measurements
    """Metrics against the teacher's curves on held-out speech: mse, r2, jitter_ratio, lag_ms, ...; of
    a mesh also vertex_error and lip_vertex_error, in its own units."""
    against_truth: Measurements
    """Metrics against known truth: mse, pbm (share of /p b m/ with closed lips), pbm_at_1pct, closed_outside
    (F, share of other speech with closed lips), false_closures (the same of vowels alone), ..."""
    by_region: Parts = field(default_factory=dict)
    """Region of the face to mse and correlation against the teacher; empty if not measured."""
    by_control: Parts = field(default_factory=dict)
    """Control to the same."""
    by_clip: ClipSums | None = None
    """What its figures are summed of, clip by clip, by which two reports of the same speech are paired;
    null where nothing was judged, and in reports from before it was kept."""
    by_kind: tuple[KindFigures, ...] = ()
    """Its figures for each kind of voice and each language of it; empty if not measured."""
    not_speech: NotSpeech | None = None
    """What it does on sound that is not speech; null where the teacher's rest pose is not known, of
    baselines, and in reports from before it was measured."""
