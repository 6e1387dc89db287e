"""What pruning and quantizing left behind, in the report's words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.distill.shrinking import Shrunk
from compress.run.jobs import StudentJobs
from exporters.report.records import compression as doc

if TYPE_CHECKING:
    from compress.recipe.compression import QualityGate

Fields = Mapping[str, Any]


def pruning_of(jobs: StudentJobs, pruned: Shrunk) -> doc.Pruning:
    """The report's pruning of a student."""
    settings, record = jobs.distill.settings.pruning, pruned.record
    assert settings is not None
    before, rounds = record["before"], record["rounds"]
    after = rounds[-1]["after"]
    return doc.Pruning(
        student=jobs.name,
        criterion=settings.criterion,
        allocation=settings.allocation,
        budget_of=settings.of,
        asked=settings.remove,
        removed=1 - after[settings.of] / before[settings.of],
        layers=tuple(
            doc.PrunedLayer(
                name=name,
                channels_before=channels,
                channels_after=record["layers_after"][name],
            )
            for name, channels in record["layers_before"].items()
        ),
        parameters_before=before["parameters"],
        parameters_after=after["parameters"],
        multiply_adds_before=before["multiply_adds"],
        multiply_adds_after=after["multiply_adds"],
        bytes_before=before["bytes"],
        bytes_after=after["bytes"],
        rounds=tuple(
            doc.PruningRound(
                round=number,
                parameters=row["after"]["parameters"],
                before_cut=doc.Quality(**row["before_cut"]),
                after_cut=doc.Quality(**row["after_cut"]),
                after_recovery=doc.Quality(**row["after_recovery"]),
                recovery_steps=row["recovery_steps"],
            )
            for number, row in enumerate(rounds, 1)
        ),
    )


def quantization_of(jobs: StudentJobs, integers: Shrunk) -> doc.Quantization:
    """The report's quantization of a student."""
    settings, record = jobs.distill.settings.quantization, integers.record
    assert settings is not None
    choices = record["scan"]["choices"]
    auto = record["chosen_by"] == "auto"
    return doc.Quantization(
        student=jobs.name,
        method=settings.method,
        observer=settings.observer,
        calibration_batches=settings.calibration_batches,
        seed=settings.seed,
        layers=choices,
        chosen_by=record["chosen_by"],
        gate=_kept(settings.gate, record["cost"]) if auto else {},
        scan=tuple(
            doc.ScanRow(
                what=row["layer"],
                choice=row["choice"],
                mse_ratio=row["cost"]["mse"],
                quiet_mse_ratio=row["cost"]["quiet_mse"],
                jitter_ratio=row["cost"]["jitter"],
                pbm_points=_points(row["cost"]["pbm_loss"], -100),
                false_points=_points(row["cost"]["false_rise"], 100),
                chosen=_taken(row, choices),
            )
            for row in record["scan"]["rows"]
        ),
    )


def _taken(row: Fields, choices: Fields) -> bool:
    from compress.quantize.sensitivity import EVERYTHING

    taken = choices.values() if row["layer"] == EVERYTHING else [choices[row["layer"]]]
    return set(taken) == {row["choice"]}


def _kept(gate: "QualityGate", cost: Fields) -> dict[str, doc.KeptLimit]:
    limits = gate.model_dump()
    return {
        name: doc.KeptLimit(
            value=cost[name],
            limit=limit,
            held=None if cost[name] is None else cost[name] <= limit,
        )
        for name, limit in limits.items()
    }


def _points(share: float | None, points: int) -> float | None:
    return None if share is None else points * share
