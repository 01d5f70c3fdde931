"""Formats as objects: what every registered one does, and one that is added from outside."""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from persona_affect._files import walk_folders
from persona_affect.datasets import (
    FORMATS,
    DatasetFormat,
    FormatOption,
    LeftOut,
    check_files,
    combine,
    get_format,
    load_dataset,
    make_bunch,
    parse_bool,
    parse_names,
    recognise_format,
    register_format,
    walk_data,
    write_miniature,
)
from persona_affect.datasets import _registry as registry
from persona_affect.exceptions import DatasetFormatError, MediaWarning

MINIATURES = [(spec.name, layout) for spec in FORMATS.values() for layout in spec.miniatures]


@pytest.mark.parametrize(("name", "layout"), MINIATURES)
def test_a_miniature_is_recognised_loaded_and_combined(tmp_path, name, layout):
    spec = get_format(name)
    write_miniature(name, tmp_path / "set", n_clips=spec.min_clips, n_frames=2, layout=layout)
    assert recognise_format(tmp_path) is spec
    data = load_dataset(tmp_path / "set")
    assert data.name == name
    assert data.target_names == [*data.personality, *data.emotion] == list(data.target)
    assert len(data.data) == len(data.target) == len(data.groups) == len(data.split)
    assert set(data.split) <= {"", *spec.parts}
    assert combine(data).target.shape == data.target.shape


@pytest.mark.parametrize(
    ("name", "message"), [("csv", "has no miniature; those of .*omi"), ("cvs", "is no format")]
)
def test_a_format_without_miniatures_is_named(tmp_path, name, message):
    with pytest.raises(ValueError, match=f"name='{name}' {message}"):
        write_miniature(name, tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_says_of_itself_is_true(tmp_path, name):
    spec = get_format(name)
    assert spec.layout
    assert "\n" not in spec.layout
    with pytest.raises(DatasetFormatError):
        load_dataset(tmp_path / "absent", name)
    if not spec.parts:
        with pytest.raises(ValueError, match="no official parts"):
            load_dataset(tmp_path, name, "train")
    for option in spec.options:
        # A wrong name would be a TypeError.
        with pytest.raises(DatasetFormatError):
            load_dataset(tmp_path / "absent", name, **{option.name: None})
        assert option.help.endswith(".")


@pytest.fixture
def smiles(monkeypatch):
    """A format of a stranger's own, registered for one test."""

    def load_smiles(root, split=None, *, least=0.0, check="open", verbose=False):
        left_out = LeftOut("smiles")
        path = next(
            here / "smiles.json"
            for here, _, files in walk_data(Path(root), left_out)
            if "smiles.json" in files
        )
        rows = [row for row in json.loads(path.read_text()) if row["smile"] >= least]
        sources = [str(path.parent / row["file"]) for row in rows]
        good = check_files(sources, check, left_out)
        rows = [row for row, is_good in zip(rows, good, strict=True) if is_good]
        return make_bunch(
            name="smiles",
            sources=[str(path.parent / row["file"]) for row in rows],
            target=pd.DataFrame(rows)[["smile"]],
            emotion=["smile"],
            left_out=left_out,
        )

    def write(root, n_clips, n_frames, random_state):
        write_miniature("omi", root / "omi", n_clips=n_clips, random_state=random_state)
        images = sorted((root / "omi" / "images").iterdir())
        rows = [{"file": str(f.relative_to(root)), "smile": i / 10} for i, f in enumerate(images)]
        (root / "omi" / "ratings.csv").unlink()
        (root / "smiles.json").write_text(json.dumps(rows))
        return pd.DataFrame(rows)

    monkeypatch.setattr(registry, "_FORMATS", registry._FORMATS.copy())
    monkeypatch.setattr(registry, "FORMATS", registry._FORMATS)
    monkeypatch.setattr("persona_affect.datasets._miniatures.FORMATS", registry._FORMATS)
    return register_format(
        DatasetFormat(
            name="smiles",
            load=load_smiles,
            layout="smiles.json, a list of file and smile",
            recognise=lambda folder, folders, files: "smiles.json" in files,
            parts=("train", "test"),
            options=(FormatOption("least", float, "Only smiles of this width."),),
            miniatures={"published": write},
        )
    )


def test_a_format_from_outside_is_as_good_as_our_own(smiles, tmp_path):
    write_miniature("smiles", tmp_path / "set", n_clips=4)
    assert recognise_format(tmp_path) is smiles
    data = load_dataset(tmp_path, least=0.2)
    assert data.target["smile"].tolist() == [0.2, 0.3]
    assert data.groups.tolist() == ["0", "1"]
    assert data.polarity == {"smile": 1}
    Path(data.data[0]).write_bytes(b"")
    with pytest.warns(MediaWarning, match="1 files or labels were left out, 3 samples kept"):
        assert len(load_dataset(tmp_path, "smiles", "train").data) == 3


def test_a_name_belongs_to_one_format(smiles):
    assert register_format(smiles) is smiles
    other = DatasetFormat("omi", smiles.load, smiles.layout, smiles.recognise)
    with pytest.raises(ValueError, match="registered as 'omi' already"):
        register_format(other)
    with pytest.raises(ValueError, match="none of"):
        get_format("nothing")


def test_a_folder_that_two_formats_recognise_is_asked_for_by_name(smiles, tmp_path):
    write_miniature("omi", tmp_path / "set", n_clips=2)
    (tmp_path / "set" / "smiles.json").write_text("[]")
    with pytest.raises(DatasetFormatError, match=r"could be of .*'omi', 'smiles'"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, "omi").data) == 2


def test_a_loader_that_contradicts_itself_is_reported(tmp_path):
    target = pd.DataFrame({"smile": [0.5]})
    with pytest.raises(ValueError, match="columns of target"):
        make_bunch(name="x", sources=["a.jpg"], target=target)
    with pytest.raises(ValueError, match="lengths differ"):
        make_bunch(name="x", sources=["a.jpg", "b.jpg"], target=target, emotion=["smile"])
    with pytest.raises(DatasetFormatError, match="no sample"):
        make_bunch(name="x", sources=[], target=target, emotion=["smile"])


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("False", False), ("1", True)])
def test_text_is_read_as_yes_or_no(text, value):
    assert parse_bool(text) is value
    with pytest.raises(ValueError, match="neither yes nor no"):
        parse_bool("perhaps")
    assert parse_names("joy, anger,") == ["joy", "anger"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_each_real_folder_is_visited_once(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "b" / "c", elsewhere / "d"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    for number in range(5):
        # Each doubles the paths to every folder, for whoever follows links blindly.
        (root / f"loop{number}").symlink_to(root)
        (root / "b" / f"up{number}").symlink_to(tmp_path)
    (root / "a").symlink_to(root / "b")
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root / "b")
    visited = [str(folder.relative_to(root)) for folder, _, _ in walk_folders(root)]
    assert visited == [".", "b", os.path.join("b", "c"), "linked", os.path.join("linked", "d")]
    assert [f.name for f, _, _ in walk_folders(root, max_depth=1)] == ["root", "b", "linked"]


def test_folders_that_cannot_be_listed_are_left_out_and_noted(tmp_path, monkeypatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    listed = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    left_out = LeftOut("set")
    visited = [folder.name for folder, _, _ in walk_data(tmp_path, left_out)]
    assert visited == [tmp_path.name, "open"]
    ((path, problem),) = left_out.rows
    assert path == str(tmp_path / "shut")
    assert "cannot be listed: Permission denied" in problem
