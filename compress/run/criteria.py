"""By what students are judged and chosen, as keys: of what a change makes older results another's."""

from dataclasses import asdict, dataclass

from compress.labels.rest_stage import RestJob
from compress.recipe.recipe import Recipe
from compress.run.jobs import Inputs
from compress.store import content_key


@dataclass(frozen=True)
class Criteria:
    """`closure` says when lips are closed, `choices` by what layers and channels are chosen.

    `held_out` is of what judges held-out speech, `judged` of sound that is not speech too.
    """

    closure: str
    choices: str
    held_out: str
    judged: str


def criteria_of(recipe: Recipe, inputs: Inputs, rest: RestJob) -> Criteria:
    """The criteria of a run."""
    closed = recipe.teacher.lips_closed
    by_vertices = closed and closed.model_dump(mode="json")
    # A name for people that changes trains nothing again.
    closure = content_key(file=inputs.rig and inputs.rig.closure_key, mesh=by_vertices)
    alignments = {clip: asdict(a) for clip, a in inputs.alignments.items()}
    # Who speaks is asked by those who judge, and by nobody who chooses.
    voices = {clip: found.pop("voice") for clip, found in alignments.items()}
    choices = content_key(alignments=alignments, closure=closure)
    held_out = content_key(
        choices=choices,
        rig=inputs.rig and inputs.rig.key,
        voices=voices,
        # As pairs: of two kinds that name a clip the first counts.
        kinds=[[kind, *patterns] for kind, patterns in recipe.speech.kinds.items()],
    )
    judged = content_key(criteria=held_out, rest=rest.key)
    return Criteria(closure, choices, held_out, judged)
