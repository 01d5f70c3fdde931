"""WebDataset shards and Parquet files: references with labels, and nothing is unpacked."""

import io
import json
import tarfile

import pandas as pd
import pytest
from PIL import Image

from persona_affect.datasets import FORMATS, combine, load_dataset, load_parquet, load_webdataset
from persona_affect.exceptions import DatasetFormatError, MediaWarning
from persona_affect.media import open_photo

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def jpeg(value=0):
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (value,) * 3).save(file, "jpeg")
    return file.getvalue()


def write_shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            content = json.dumps(content).encode() if isinstance(content, dict) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    root = tmp_path / "shards"
    root.mkdir()
    for part, first in (("train", 0), ("validation", 2)):
        members = {}
        for i in (first, first + 1):
            members[f"{i:04d}.jpg"] = jpeg(40 * i)
            members[f"{i:04d}.json"] = {
                "openness": i / 10, "arousal": -i / 10, "group": i // 2, "caption": "text",
            }  # fmt: skip
        write_shard(root / f"{part}-000.tar", members)
    return root


@pytest.fixture
def tables(tmp_path):
    root = tmp_path / "tables"
    (root / "data").mkdir(parents=True)
    for part, first in (("train", 0), ("validation", 2)):
        rows = range(first, first + 2)
        image = [{"bytes": jpeg(40 * i), "path": None} for i in rows]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(
            {
                "image": pa.array(image, kind),
                "openness": [i / 10 for i in rows],
                "arousal": [-i / 10 for i in rows],
                "group": [str(i // 2) for i in rows],
                "caption": ["text"] * 2,
            }
        )
        name = f"{part}-00000-of-00001.parquet"
        pq.write_table(table, root / "data" / name, row_group_size=1)
    return root


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_persons_and_parts_are_text_in_any_form(tmp_path, kind):
    columns = {"image": pa.array([jpeg(0), jpeg(40)]), "openness": [0.1, 0.2]}
    texts = {"group": ["ann", None], "split": ["test", "train"]}
    columns |= {name: pa.array(texts[name], pa.string()).cast(kind) for name in texts}
    pq.write_table(pa.table(columns), tmp_path / "part.parquet")
    data = load_parquet(tmp_path)
    assert data.groups.tolist()[0] == "ann"
    assert data.split.tolist() == ["test", "train"]
    assert data.target_names == ["openness"]


def test_numbers_by_the_names_of_paths_and_parts_are_no_targets(tmp_path):
    columns = {"image": [jpeg(0), jpeg(40)], "path": [1, 2], "split": [0, 1], "warm": [0.1, 0.2]}
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    data = load_parquet(tmp_path)
    assert data.target_names == ["warm"]
    assert [path.rpartition("/")[2] for path in data.data] == ["0", "1"]
    assert data.split.tolist() == ["test", "test"]


def test_the_end_of_a_table_is_read_once(tables, monkeypatch):
    opened = []
    parquet_file = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path: opened.append(path) or parquet_file(path))
    load_parquet(tables)
    assert len(opened) == len(set(opened)) == 2


@pytest.mark.parametrize("form", ["shards", "tables"])
def test_samples_are_references_with_labels(form, request):
    root = request.getfixturevalue(form)
    data = load_dataset(root)
    assert data.name == {"shards": "webdataset", "tables": "parquet"}[form]
    assert data.target_names == ["openness", "arousal"]
    assert data.target["openness"].tolist() == [0, 0.1, 0.2, 0.3]
    assert data.groups.tolist() == ["0", "0", "1", "1"]
    assert data.split.tolist() == ["train", "train", "val", "val"]
    assert [type(path) for path in data.data] == [str] * 4
    assert [int(open_photo(path)[0, 0, 0]) for path in data.data] == [0, 40, 80, 120]
    end = {"shards": "train-000.tar/0001.jpg", "tables": "of-00001.parquet/image/1"}[form]
    assert data.data[1].endswith(end)
    assert len(data.left_out) == 0
    val = load_dataset(root, split="val")
    assert val.data.tolist() == data.data[2:].tolist()
    assert load_dataset(root, personality=["openness"]).target_names == ["openness"]


def test_both_forms_join(shards, tables):
    both = combine(load_webdataset(shards), load_parquet(tables))
    assert both.target.shape == (8, 2)
    assert sorted(set(both.source)) == ["parquet", "webdataset"]


def test_predictions_join_back_by_path(shards, tmp_path):
    data = load_dataset(shards)
    predictions = pd.DataFrame({"openness": [1.0, 2.0, 3.0, 4.0]}, index=data.data)
    predictions.to_csv(tmp_path / "predictions.csv", index_label="path")
    labels = data.target.assign(path=data.data)
    joined = pd.read_csv(tmp_path / "predictions.csv").merge(labels, on="path")
    assert joined["openness_x"].tolist() == [1, 2, 3, 4]
    assert joined["openness_y"].tolist() == [0, 0.1, 0.2, 0.3]
    # The same table is a data set, too.
    again = load_dataset(tmp_path / "predictions.csv")
    assert again.data.tolist() == data.data.tolist()


def test_what_is_bad_is_named_and_the_rest_is_kept(shards):
    write_shard(
        shards / "train-001.tar",
        {
            "a/10.jpg": jpeg(), "a/10.json": {"openness": 0.5, "arousal": 0.1},
            "a/11.jpg": jpeg()[:50], "a/11.json": {"openness": 0.5, "arousal": 0.1},
            "a/12.jpg": jpeg(), "a/12.json": b"{no json",
            "a/13.jpg": jpeg(),
            "a/14.json": {"openness": 0.5},
            "a/15.jpg": jpeg(), "a/15.face.png": jpeg(), "a/15.json": {"openness": 0.5},
            "a/16.jpg": jpeg(), "a/16.json": b"[1]",
            "a/17.jpg": jpeg(), "a/17.json": {"caption": "no label"},
            "a/18.jpg": b"cos\nsystem\n(S'true'\ntR.", "a/18.json": {"openness": 0.5},
        },
    )  # fmt: skip
    (shards / "train-002.tar").write_bytes(b"no archive" * 100)
    with pytest.warns(MediaWarning, match="files or labels were left out, 5 samples kept"):
        data = load_webdataset(shards)
    assert data.target.shape == (5, 2)
    problems = {path.rpartition("/")[2]: problem for path, problem in data.left_out.to_numpy()}
    for name, problem in {
        "11.jpg": "damaged",
        "12.json": "the labels cannot be read",
        "13.jpg": "no labels",
        "14.json": "no picture",
        "15.jpg": "name one with picture=",
        "16.json": "it is no object",
        "17.jpg": "no label",
        "18.jpg": "not a photo",
        "train-002.tar": "is no tar archive",
    }.items():
        assert problem in problems.pop(name)
    assert problems == {}


def test_one_of_several_pictures(tmp_path):
    write_shard(
        tmp_path / "a.tar",
        {"0.jpg": jpeg(1), "0.face.jpg": jpeg(99), "0.json": {"openness": 1}},
    )
    data = load_webdataset(tmp_path / "a.tar", picture="face.jpg")
    assert open_photo(data.data[0])[0, 0, 0] == 99


def test_a_damaged_table_costs_its_own_samples(tables):
    (tables / "data" / "test-0.parquet").write_bytes(b"PAR1" * 100)
    with pytest.warns(MediaWarning, match="1 files or labels were left out, 4 samples kept"):
        data = load_parquet(tables)
    assert "is no Parquet file" in data.left_out.problem[0]


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_nothing_to_load(name, tmp_path):
    with pytest.raises(DatasetFormatError, match="There is no"):
        FORMATS[name].load(tmp_path)
