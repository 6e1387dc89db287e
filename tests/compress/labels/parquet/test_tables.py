"""Labels as Parquet: readable by others, and the same label folder when they come back."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from compress.errors import InputError, LockedError, MissingError, UsageError
from compress.labels.making import Spoken
from compress.labels.parquet.exporting import export_labels
from compress.labels.parquet.importing import import_labels
from compress.labels.parquet.tables import METADATA, schema_of
from compress.labels.store import Labels, curves_of
from compress.recipe.recipe import LabelSettings
from compress.store import content_key, run_lock

LabelBy = Callable[..., Labels]
Change = Callable[[pa.Table], pa.Table]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def table(labels: Labels) -> Path:
    path = labels.folder.parent / "labels.parquet"
    export_labels(labels.folder, path)
    return path


@pytest.fixture
def with_audio(
    tmp_path: Path, make_speech: Callable[..., list[Spoken]], label_by: LabelBy, known_teacher: Any
) -> Labels:
    """Labels whose shards keep the audio; some clips are missing, all of one shard among them."""

    def spoil(curves: Any) -> Any:
        if curves.shape[1] in (18, 24):
            curves[0, 3, 0] = np.nan
        return curves

    speech = make_speech(tmp_path / "kept", (0.7, 0.5, 0.9, 0.8, 0.7))
    asked = LabelSettings(batch_s=2.0, shard_s=1.3, keep_audio=True, max_missing_share=0.5)
    teacher = known_teacher(rate_hz=30, offset_s=0.02, spoil=spoil)
    return label_by(teacher, "key", speech, tmp_path / "with-audio" / "labels", asked)


def rewritten(path: Path, change: Change) -> None:
    """The table as another program would write it that keeps our metadata and our row groups."""
    file = pq.ParquetFile(path)
    metadata = file.metadata.metadata
    groups = [change(file.read_row_group(i)) for i in range(file.num_row_groups)]
    file.close()
    with pq.ParquetWriter(path, groups[0].schema.with_metadata(metadata)) as writer:
        for group in groups:
            writer.write_table(group.replace_schema_metadata(metadata), row_group_size=10**6)


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.chunked_array([values]))


# -------------------------------------------------------------------------------------- export


def test_others_read_it(labels: Labels, table: Path) -> None:
    """A row a frame: the numbers are those that students learn from."""
    found = pandas.read_parquet(table)
    assert list(found) == ["clip", "side", "frame", "time_s", *labels.controls]
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {
        "clip": "category",
        "side": "category",
        "frame": "int32",
        "time_s": "float64",
        **dict.fromkeys(labels.controls, "float32"),
    }
    assert list(found["clip"].unique()) == [clip.id for clip in labels.clips]
    for clip, curves in zip(labels.clips, curves_of(labels, labels.clips, "frames"), strict=True):
        rows = found[found["clip"] == clip.id]
        assert set(rows["side"]) == {clip.side}
        np.testing.assert_array_equal(rows["frame"], np.arange(clip.frames))
        np.testing.assert_allclose(rows["time_s"], np.arange(clip.frames) / 30, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(rows[list(labels.driven)], curves)
        np.testing.assert_allclose(rows["browInnerUp"], 0.25)


def test_time_begins_where_the_teacher_says(with_audio: Labels, tmp_path: Path) -> None:
    export_labels(with_audio.folder, tmp_path / "a.parquet")
    found = pandas.read_parquet(tmp_path / "a.parquet")
    np.testing.assert_allclose(found["time_s"], 0.02 + found["frame"] / 30, rtol=0, atol=1e-12)


def test_kept_audio_is_in_the_row_of_a_clips_first_frame(
    with_audio: Labels, tmp_path: Path
) -> None:
    export_labels(with_audio.folder, tmp_path / "a.parquet")
    found = pandas.read_parquet(tmp_path / "a.parquet")
    heard = found.dropna(subset="audio")
    assert list(heard["frame"]) == [0] * len(with_audio.clips)
    assert list(heard["clip"]) == [clip.id for clip in with_audio.clips]
    for flac, clip in zip(heard["audio"], with_audio.clips, strict=True):
        samples, rate = soundfile.read(io.BytesIO(flac))
        assert (len(samples), rate) == (round(clip.seconds * 16_000), 16_000)


def test_a_shard_is_a_row_group_and_is_compressed(labels: Labels, table: Path) -> None:
    found = pq.ParquetFile(table).metadata
    shards = [clip.shard for clip in labels.clips]
    assert found.num_row_groups == len(set(shards)) == 3
    assert {found.row_group(0).column(i).compression for i in range(found.num_columns)} == {"ZSTD"}
    assert found.row_group(0).column(4).encodings[-1] == "BYTE_STREAM_SPLIT"


def test_exporting_twice_gives_the_same_bytes(labels: Labels, table: Path) -> None:
    before = table.read_bytes()
    exported = export_labels(labels.folder.parent, table)
    assert table.read_bytes() == before
    assert str(exported) == f"3 shards, 6 clips, 0.00 h, {len(before) / 1e6:.1f} MB: {table}"


def test_a_control_may_have_the_name_of_another_column() -> None:
    found = schema_of(("jawOpen", "frame", "audio"), audio=True)
    assert found.names[4:] == ["jawOpen", "control.frame", "control.audio", "audio"]


def test_another_ending_is_refused(labels: Labels, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in '\.csv'; expected"):
        export_labels(labels.folder, tmp_path / "labels.csv")


def test_labels_that_are_not_finished_are_refused(labels: Labels, tmp_path: Path) -> None:
    (labels.folder / "stage.json").unlink()
    with pytest.raises(InputError, match="labelling is not finished"):
        export_labels(labels.folder, tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["index.json", "clips.jsonl", "shard"])
def test_damaged_labels_are_refused(labels: Labels, tmp_path: Path, name: str) -> None:
    path = labels.folder / (labels.clips[3].shard if name == "shard" else name)
    spoiled = bytearray(path.read_bytes())
    spoiled[-30] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(InputError, match="labels verify") as raised:
        export_labels(labels.folder, tmp_path / "a.parquet")
    assert path.name in str(raised.value)
    assert not list(tmp_path.glob("*a.parquet*"))


def test_parquet_is_an_extra(
    labels: Labels, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (
        lambda: export_labels(labels.folder, tmp_path / "a.parquet"),
        lambda: import_labels(table, tmp_path / "run"),
    ):
        with pytest.raises(MissingError, match=r"pip install 'lipstill\[parquet\]'"):
            act()
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------- import


@pytest.mark.parametrize("which", ["labels", "with_audio"])
def test_it_comes_back_byte_for_byte(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    labels: Labels = request.getfixturevalue(which)
    assert bool(labels.missing) == (which == "with_audio")
    export_labels(labels.folder, tmp_path / "a.parquet")
    imported = import_labels(tmp_path / "a.parquet", tmp_path / "there" / "run")
    assert imported.folder == tmp_path / "there" / "run" / "labels"
    assert content(imported.folder) == content(labels.folder)
    assert (imported.shards, imported.clips) == (
        len({clip.shard for clip in labels.clips}),
        len(labels.clips),
    )
    assert "byte for byte as they were" in str(imported)


def test_what_lies_beside_the_shards_comes_too(labels: Labels, tmp_path: Path) -> None:
    """What a mesh is reduced by, larger than a piece of the metadata."""
    from compress.store import seal

    (labels.folder / "mesh.npz").write_bytes(np.random.default_rng(0).bytes(10 * 2**20))
    seal(labels.folder, labels.key)
    export_labels(labels.folder, tmp_path / "a.parquet")
    imported = import_labels(tmp_path / "a.parquet", tmp_path / "run")
    assert content(imported.folder) == content(labels.folder)


def test_another_zlib_is_no_damage(
    labels: Labels, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deflated otherwise: the curves are the same, and the seal is that of these bytes."""
    from compress.labels import curve_codec

    monkeypatch.setattr(curve_codec, "LEVEL", 1)
    imported = import_labels(table, tmp_path / "run")
    assert imported.others == 3
    assert "3 in other bytes, since zlib is another here" in str(imported)
    from dataclasses import replace

    back = curves_of(replace(labels, folder=imported.folder), labels.clips, "frames")
    for one, other in zip(back, curves_of(labels, labels.clips, "frames"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_that_are_there_are_left_alone(labels: Labels, table: Path, tmp_path: Path) -> None:
    before = content(labels.folder)
    with pytest.raises(UsageError, match="labels is not empty"):
        (tmp_path / "run" / "labels").mkdir(parents=True)
        (tmp_path / "run" / "run.json").write_text("{}")
        (tmp_path / "run" / "labels" / "letter.txt").write_text("dear")
        import_labels(table, tmp_path / "run")
    with pytest.raises(UsageError, match="no run of lipstill"):
        import_labels(table, labels.folder.parent)
    assert content(labels.folder) == before


def test_an_empty_folder_of_labels_will_do(table: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "labels").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    import_labels(table, tmp_path / "run")
    assert (tmp_path / "run" / "labels" / "index.json").exists()


def test_a_run_at_work_is_left_alone(table: Path, tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"), pytest.raises(LockedError):
        import_labels(table, tmp_path / "run")


def times_two(table: pa.Table) -> pa.Table:
    return replaced(table, "jawOpen", pa.array(2 * table["jawOpen"].to_numpy()))


def later(table: pa.Table) -> pa.Table:
    return replaced(table, "time_s", pa.array(1 + table["time_s"].to_numpy()))


def other_side(table: pa.Table) -> pa.Table:
    column = table["side"].combine_chunks()
    return replaced(
        table,
        "side",
        pa.DictionaryArray.from_arrays(column.indices, ["held"] * len(column.dictionary)),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (times_two, "the curves or the audio of shard-"),
        (lambda t: t.take(np.arange(len(t))[::-1]), "the curves or the audio of shard-"),
        (lambda t: t.slice(1), "shard-"),
        (later, "clips, sides or times of shard-"),
        (other_side, "clips, sides or times of shard-"),
        (lambda t: t.drop_columns("time_s"), "it has the columns clip, side, frame, jawOpen"),
        (lambda t: t.drop_columns("mouthClose"), "it has the columns clip, side"),
        (
            lambda t: t.cast(t.schema.set(4, pa.field("jawOpen", pa.float64()))),
            "it has the columns",
        ),
    ],
)
def test_a_table_that_was_changed_is_refused(
    table: Path, tmp_path: Path, change: Change, said: str
) -> None:
    """The key would say that a teacher made what somebody else did."""
    rewritten(table, lambda rows: rows)
    import_labels(table, tmp_path / "unchanged")
    rewritten(table, change)
    with pytest.raises(InputError, match="cannot be read as labels") as raised:
        import_labels(table, tmp_path / "run")
    assert said in str(raised.value)
    assert "Nothing was imported" in str(raised.value)
    assert [path.name for path in (tmp_path / "run").glob("*") if path.name != ".lock"] == []


def foreign(path: Path) -> None:
    pandas.DataFrame({"a": [1.0]}).to_parquet(path)


def other_format(path: Path) -> None:
    metadata({"format": 99})(path)


def metadata(update: dict[str, Any]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        found = dict(pq.read_metadata(path).metadata)
        facts = json.loads(found[METADATA.encode()]) | update | {"checksum": ""}
        facts["checksum"] = content_key(**facts)  # as somebody who means it would
        found[METADATA.encode()] = json.dumps(facts).encode()
        pq.write_table(table.replace_schema_metadata(found), path)

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (foreign, "`lipstill labels export` did not write it"),
        (other_format, "of format 99, expected 2"),
        (metadata({"files": {"../a": 1}}), "it has a file '../a'"),
        (metadata({"files": {"index.json": 1, "stage.json": 1}}), "it has a file 'stage.json'"),
        (metadata({"files": {"index.json": 9}}), "lipstill.index.json.1"),
        (
            metadata({"shards": [{"name": "a", "missing": {}, "curves": "", "file": ""}]}),
            "a shard 'a'",
        ),
        (metadata({"shards": []}), "zip() argument 2 is longer"),
        (metadata({"key": 7}), "key: Input should be a valid string"),
        (lambda path: path.write_text("dear"), "8 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "cannot be read as labels"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    table: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(table)
    with pytest.raises(InputError, match="cannot be read as labels") as raised:
        import_labels(table, tmp_path / "run")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "labels").exists()


def test_no_flipped_byte_of_what_a_table_says_of_itself_is_taken(
    table: Path, tmp_path: Path
) -> None:
    """Parquet's pages have checksums, its metadata has none: a key would be that of other labels."""
    whole = table.read_bytes()
    facts = json.dumps(json.loads(pq.read_metadata(table).metadata[METADATA.encode()])).encode()
    begins = whole.rindex(facts)
    for place in range(begins, begins + len(facts), 7):
        table.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        with pytest.raises(InputError, match="cannot be read as labels"):
            import_labels(table, tmp_path / "run")


def test_no_flipped_byte_changes_what_comes_back(
    labels: Labels, table: Path, tmp_path: Path
) -> None:
    """Pages have checksums; what their headers say of smallest and largest values is not read."""
    whole, refused = table.read_bytes(), 0
    places = np.linspace(0, len(whole) - 1, 50).astype(int)
    for i, place in enumerate(places):
        table.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        try:
            imported = import_labels(table, tmp_path / str(i))
        except InputError:
            refused += 1
        else:
            assert content(imported.folder) == content(labels.folder)
    assert refused > 33


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_shards(tmp_path: Path) -> None:
    """Twenty-five times the shards of one size, each in a process of its own."""
    import subprocess

    code = """
import sys
from pathlib import Path
import numpy as np
from compress.labels.curve_codec import pack
from compress.labels.parquet.exporting import export_labels
from compress.labels.parquet.importing import import_labels
from compress.labels.shards import Labelled, TeacherFacts, to_bytes
from compress.labels.store import Labels, LabelledClip, write_index

folder, count = Path(sys.argv[1]), int(sys.argv[2])
labels = folder / "labels"
labels.mkdir(parents=True)
names = tuple(f"control{i}" for i in range(52))
facts = TeacherFacts(names, None, 30.0, 0.0, 3, "noise")
clips = []
for i in range(count):
    curves = np.random.default_rng(i).normal(size=(3000, 52)).astype(np.float32)
    name = f"shard-{i:016}.safetensors"
    (labels / name).write_bytes(to_bytes(facts, [Labelled(str(i), 3000, pack(curves))]))
    clips.append(LabelledClip(str(i), "train", 0, 100.0, "", name, 3000, 6250))
write_index(Labels(labels, "key", names, names, {}, None, 1.0, 30.0, 0.0, 3, "noise", tuple(clips)))
export_labels(folder, folder / "a.parquet")
import_labels(folder / "a.parquet", folder / "run")
from tests.peak import peak_bytes
print(peak_bytes() // 2**20)
"""
    found = []
    for count in (4, 100):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / str(count), str(count)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])},
        )
        found.append(int(done.stdout))
    assert found[1] - found[0] < 20, f"{found} MiB; 96 shards are 57 MiB of curves"
