"""Command verify: everything that can be asked of a bundle, or of all of a run, from files alone."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from compress.errors import GateBroken, InputError, MissingError, UsageError
from compress.progress import bar
from compress.prove.latency_proof import latency_checks
from compress.store import tool_versions
from exporters.bundle.folder import CHECKSUMS, SIGNATURE, check_bundle, lacking, model_files
from exporters.bundle.sums import SUMS, check_sums
from exporters.errors import MissingToolError, ModelFileError
from exporters.machine import machine_facts
from exporters.proof.checks import Check, overall
from exporters.report.junit import to_junit
from exporters.targets.contract import available_targets, load_target

MODELS = "models"
INTACT = "intact"


@dataclass(frozen=True)
class Verification:
    """What was asked of a folder, and the answers; `damage` has one text for each damaged part."""

    folder: Path
    checks: tuple[Check, ...]
    damage: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """One aligned line a check."""
        widths = [
            max((len(getattr(check, name)) for check in self.checks), default=0)
            for name in ("file", "what", "status")
        ]
        return [
            f"{check.file:<{widths[0]}}  {check.what:<{widths[1]}}  {check.status:<{widths[2]}}  "
            f"{' '.join(check.detail.split())}"
            for check in self.checks
        ]

    def to_json(self) -> str:
        """The same for machines."""
        fields = {
            "folder": str(self.folder),
            "status": overall(check.status for check in self.checks),
            "checks": [asdict(check) for check in self.checks],
        }
        return json.dumps(fields, indent=1)

    def to_junit(self) -> str:
        """The same for CI."""
        versions = tool_versions("lipstill", *runtimes())
        facts = {name: found or "not installed" for name, found in versions.items()}
        name = f"lipstill verify {self.folder.absolute().name}"
        return to_junit(self.checks, suite=name, properties=machine_facts() | facts)

    def conclude(self) -> None:
        """Return if nothing failed and all that can run here ran.

        Raises `ModelFileError` where something is damaged, else `GateBroken` where a check failed,
        else `MissingError` where a package is missing without which a model file is not checked.
        """
        if self.damage:
            raise ModelFileError("\n".join(self.damage))
        if failed := [check for check in self.checks if check.status == "failed"]:
            said = "".join(f"\n  - {check.file}, {check.what}: {check.detail}" for check in failed)
            raise GateBroken(
                f"{len(failed)} of {len(self.checks)} checks of {self.folder} failed:{said}"
            )
        if missing := lacking(self.checks):
            files = ", ".join(dict.fromkeys(check.file for check in missing))
            said = " ".join(dict.fromkeys(check.detail for check in missing))
            raise MissingError(
                f"Nothing failed, but not all of {files} could be checked here. {said} Or choose "
                f"what to check with --target."
            )


def verify(folder: Path, targets: Sequence[str] = (), *, hidden: bool = False) -> Verification:
    """Check a bundle, or a run and every bundle in it; of all targets, or of those that are named.

    Damage in one part does not hide what there is to say of the others. `hidden` shows no progress.
    Raises `InputError` for a folder that is neither, and `UsageError` for a target that there is not.
    """
    if unknown := sorted(set(targets) - set(available_targets())):
        raise UsageError(
            f"There is no target {', '.join(unknown)}; --target takes {', '.join(available_targets())}."
        )
    checks: list[Check] = []
    damage: list[str] = []

    def ask(part: str, answers: Iterator[Check]) -> None:
        try:
            checks.extend(replace(check, file=f"{part}{check.file}") for check in answers)
        except ModelFileError as error:
            damage.append(str(error))
            name = part.removesuffix("/") or "."
            checks.append(Check(file=name, what=INTACT, status="failed", detail=str(error)))

    bundles = {"": folder}
    if not (folder / SIGNATURE).is_file():
        bundles = {f"{MODELS}/{path.name}/": path for path in _bundles_of_run(folder)}
        ask("", _of_run(folder))
    with bar("verify", len(bundles) if len(bundles) > 1 else None, hidden) as progress:
        for done, (part, path) in enumerate(bundles.items()):
            progress(done, path.name)
            ask(part, _of_bundle(path, targets))
    return Verification(folder, tuple(checks), tuple(damage))


def runtimes() -> list[str]:
    """Distributions that have a part in what the targets' runtimes compute."""
    named = [name for target in available_targets() for name in load_target(target).RUNTIMES]
    return list(dict.fromkeys(named))


def _bundles_of_run(folder: Path) -> list[Path]:
    found = []
    if (folder / MODELS).is_dir():
        found = sorted(path for path in (folder / MODELS).iterdir() if path.is_dir())
    if found := [path for path in found if not path.name.startswith(".")]:
        return found
    what = "holds no models" if folder.is_dir() else "is no folder"
    raise InputError(
        f"{folder} {what if folder.exists() else 'does not exist'}. Expected a folder of models (it "
        f"has {SIGNATURE}), or a run with such folders in {MODELS}/, as `lipstill compress` and "
        f"`lipstill export` make it."
    )


def _of_run(folder: Path) -> Iterator[Check]:
    listed = check_sums(folder)
    yield Check(
        file=SUMS, what=CHECKSUMS, status="passed", detail=f"{listed} files as they are listed"
    )


def _of_bundle(folder: Path, targets: Collection[str]) -> Iterator[Check]:
    """The bundle's own checks, and the proof that each file hears as far as it says; by file."""
    checks = list(check_bundle(folder, targets))
    for path, target in model_files(folder, targets).items():
        try:
            runtime = load_target(target).open_runtime(path)
        except MissingToolError:
            continue  # the checks above say so
        checks += latency_checks(runtime, path.name)
    yield from sorted(checks, key=lambda check: check.file)
