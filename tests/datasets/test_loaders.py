"""The loaders, on miniatures: what they give, what they leave out, and what they refuse."""

import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_affect.datasets import (
    combine,
    load_afew_va,
    load_aff_wild,
    load_csv,
    load_dataset,
    load_first_impressions,
    load_omi,
    write_miniature,
)
from persona_affect.exceptions import (
    DatasetFormatError,
    MediaWarning,
    PersonaAffectError,
    UnsafePickleError,
)
from persona_affect.media import FrameSequence, check_media
from persona_affect.metrics import PERSONALITY_NAMES

LOADERS = {
    "first-impressions": load_first_impressions,
    "afew-va": load_afew_va,
    "aff-wild": load_aff_wild,
    "omi": load_omi,
}


def unpickle(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pd.DataFrame(pickle.loads(path.read_bytes(), encoding="latin1"))


@pytest.mark.parametrize("name", LOADERS)
def test_a_whole_set_loads_without_a_warning(miniatures, name):
    data = LOADERS[name](miniatures / name, check="decode")
    n = len(data.data)
    assert data.data.shape == (n,)
    assert data.data.dtype == object
    assert all(isinstance(path, str) and Path(path).exists() for path in data.data)
    assert data.target.shape == (n, len(data.target_names))
    assert data.groups.shape == data.split.shape == (n,)
    assert data.target_names == data.personality + data.emotion == list(data.polarity)
    assert not data.target.isna().any().any()
    assert data.left_out.empty
    assert "Citation" in data.DESCR
    assert "Licence" in data.DESCR
    assert data.name == name


def test_first_impressions_are_what_the_pickles_say(miniatures):
    root = miniatures / "first-impressions"
    data = load_first_impressions(root)
    names = [Path(path).name for path in data.data]
    assert names == data.clips.tolist()
    for split, file in (("train", "training"), ("val", "validation"), ("test", "test")):
        published = unpickle(root / f"annotation_{file}.pkl")
        rows = np.flatnonzero(data.split == split)
        assert sorted(data.clips[rows]) == sorted(published.index)
        published = published.loc[data.clips[rows]]
        np.testing.assert_array_equal(
            data.target.iloc[rows], published[list(PERSONALITY_NAMES)].to_numpy()
        )
        np.testing.assert_array_equal(data.interview[rows], published["interview"])
        only = load_first_impressions(root, split)
        assert only.data.tolist() == data.data[rows].tolist()
    assert data.target_names == list(PERSONALITY_NAMES)
    assert data.groups.tolist() == [name.split(".")[0] for name in names]


def test_the_polarity_of_neuroticism_is_recorded_and_can_be_flipped(miniatures):
    root = miniatures / "first-impressions"
    published = load_first_impressions(root)
    flipped = load_first_impressions(root, flip_neuroticism=True)
    assert published.polarity == {n: -1 if n == "neuroticism" else 1 for n in PERSONALITY_NAMES}
    assert set(flipped.polarity.values()) == {1}
    assert "STABLE" in published.DESCR
    np.testing.assert_allclose(flipped.target.neuroticism, 1 - published.target.neuroticism)
    others = [name for name in PERSONALITY_NAMES if name != "neuroticism"]
    pd.testing.assert_frame_equal(flipped.target[others], published.target[others])


def test_extracted_faces_are_clips_of_files(tmp_path):
    write_miniature("first-impressions", tmp_path, n_clips=3, n_frames=11, layout="faces")
    data = load_first_impressions(tmp_path)
    assert all(isinstance(clip, FrameSequence) for clip in data.data)
    numbers = [Path(path).stem for path in data.data[0].paths]
    assert numbers == [f"face_{i}" for i in range(1, 12)]
    (broken,) = tmp_path.glob(f"image_data/*/{data.clips[0][:-4]}/face_3.jpg")
    broken.write_bytes(b"")
    with pytest.warns(MediaWarning, match="face_3"):
        again = load_first_impressions(tmp_path)
    assert len(again.data[0].paths) == 10


def test_afew_va_in_our_units_and_order(miniatures):
    data = load_afew_va(miniatures / "afew-va")
    assert data.target_names == ["arousal", "valence"]
    assert len(data.data) == 20
    for path, clip, frame, (_, label) in zip(
        data.data, data.groups, data.frames, data.target.iterrows(), strict=True
    ):
        published = json.loads((Path(path).parent / f"{clip}.json").read_text())
        own = published["frames"][f"{frame:05d}"]
        assert Path(path).stem == f"{frame:05d}"
        assert label.tolist() == [own["arousal"] / 10, own["valence"] / 10]


def test_aff_wild_in_our_units_and_order(miniatures):
    root = miniatures / "aff-wild"
    data = load_aff_wild(root)
    assert data.n_invalid == 5
    assert len(data.data) == 5 * 3
    for path, frame, (_, label) in zip(data.data, data.frames, data.target.iterrows(), strict=True):
        (text,) = root.glob(f"annotations/*/{Path(path).parent.name}.txt")
        valence, arousal = text.read_text().splitlines()[frame].split(",")
        assert label.tolist() == [float(arousal), float(valence)]
        assert Path(path).stem == f"{frame:05d}"
    assert set(data.split) == {"train", "val"}
    only = load_aff_wild(root, "val")
    assert only.data.tolist() == data.data[data.split == "val"].tolist()
    with pytest.raises(DatasetFormatError, match="no annotations of the part 'test'"):
        load_aff_wild(root, "test")


@pytest.mark.parametrize(("load", "name"), [(load_afew_va, "afew-va"), (load_aff_wild, "aff-wild")])
def test_a_share_of_the_frames_can_be_chosen(miniatures, load, name):
    every = load(miniatures / name, every=2)
    assert pd.Series(every.frames).groupby(every.groups).agg(list).iloc[0] in ([0, 2], [1, 3])
    few = load(miniatures / name, n_frames=1)
    assert len(few.data) == 5
    many = load(miniatures / name, n_frames=100)
    assert len(many.data) == len(load(miniatures / name).data)
    with pytest.raises(ValueError, match="not both"):
        load(miniatures / name, n_frames=1, every=2)
    with pytest.raises(ValueError, match="1 or more"):
        load(miniatures / name, every=0)


def test_omi_keeps_its_names_and_scale(miniatures):
    root = miniatures / "omi"
    published = pd.read_csv(root / "ratings.csv")
    data = load_omi(root)
    np.testing.assert_allclose(data.target, published.drop(columns="stimulus"))
    assert [int(Path(path).stem) for path in data.data] == published["stimulus"].tolist()
    some = load_omi(root, attributes=["happy", "smart"], unit_range=True)
    np.testing.assert_allclose(some.target, published[["happy", "smart"]] / 100)
    assert some.personality == ["happy", "smart"]
    with pytest.raises(ValueError, match="not among"):
        load_omi(root, attributes=["clever"])


def test_omi_notes_what_is_not_a_rating(copy):
    root = copy("omi")
    lines = (root / "ratings.csv").read_text().splitlines()
    first = lines[1].split(",")
    lines[1] = ",".join([first[0], "high", "101", *first[3:]])
    (root / "ratings.csv").write_text("\n".join(lines))
    with pytest.warns(MediaWarning, match="not from 0 to 100"):
        data = load_omi(root)
    assert data.target.iloc[0].isna().tolist() == [True, True, False, False, False, False]


def test_csv_files_of_ones_own(miniatures, tmp_path):
    images = sorted((miniatures / "omi" / "images").iterdir())[:4]
    for image in images:
        shutil.copy(image, tmp_path)
    table = pd.DataFrame(
        {
            "path": [*(image.name for image in images), "absent.jpg"],
            "valence": [0.5, None, None, -0.25, 0],
            "openness": [None, 0.75, None, 0.5, 0],
            "kind": [1, 2, None, 3, 4],
            "group": ["a", "a", None, None, "b"],
            "split": ["train", "train", "train", "test", "test"],
        }
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    with pytest.warns(MediaWarning, match="2 files or labels were left out, 3 samples kept"):
        data = load_csv(tmp_path / "own.csv")
    assert data.target_names == ["openness", "kind", "valence"]
    assert data.personality == ["openness", "kind"]
    np.testing.assert_array_equal(data.target["valence"], [0.5, np.nan, -0.25])
    assert data.groups.tolist() == ["a", "a", str(tmp_path / images[3].name)]
    with pytest.warns(MediaWarning, match="no such file"):
        test = load_csv(tmp_path / "own.csv", "test", personality=["openness"])
    assert test.target_names == ["openness"]
    assert len(test.data) == 1
    for damaged in (
        "openness\n1",
        "path,openness",
        "path\na.jpg",
        "path,path\na,b",
        "",
        "path,x,split\na,1,dev",
    ):
        (tmp_path / "own.csv").write_text(damaged)
        with pytest.raises(DatasetFormatError):
            load_csv(tmp_path / "own.csv")


def test_spaces_and_the_index_of_pandas_are_no_targets(tmp_path):
    table = pd.DataFrame({"path": ["a.jpg", "b.jpg"], " arousal": [0.1, 0.2]}, index=[7, 8])
    table.to_csv(tmp_path / "own.csv")
    data = load_csv(tmp_path / "own.csv", emotion=["arousal"], check=None)
    assert data.target.to_dict("list") == {"arousal": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("path,warmth,warmth", "more than one column warmth"),
        ("path,a,path,a", "more than one column a, path"),
        ("path,warmth, warmth ", "more than one column warmth"),
        (",path,warmth", "column without a name, number 1"),
        ("\n\npath,'x',warmth,warmth", "more than one column warmth"),
        (",".join(["path", *map(str, range(40_000))]), "more than 1,000 columns"),
        ("path," + "," * 2_000_000, "more than 1,000 columns"),
        ('path,"' + "x" * 200_000 + '"', "no readable CSV file"),
    ],
)
def test_columns_that_no_table_has_are_refused(tmp_path, head, message):
    (tmp_path / "own.csv").write_text(f"{head}\na.jpg,1,2\n")
    with pytest.raises(DatasetFormatError, match=message):
        load_csv(tmp_path / "own.csv", check=None)


def test_a_cell_that_is_not_a_number_is_named(tmp_path):
    (tmp_path / "own.csv").write_text(
        "path,warmth,calm\na.jpg,1,0\nb.jpg,high,0\nc.jpg,inf,x\nd.jpg,,\n"
    )
    with pytest.warns(MediaWarning, match="3 files or labels"):
        data = load_csv(tmp_path / "own.csv", check=None)
    assert data.left_out["problem"].tolist() == [
        "line 3: no finite number; the column 'warmth' has 'high'.",
        "line 4: no finite number; the column 'warmth' has 'inf', 'calm' has 'x'.",
        "line 5 has no label.",
    ]


def test_a_line_without_a_path_is_named(tmp_path):
    (tmp_path / "own.csv").write_text("path,warmth\na.jpg,1\n,2\nNA,3\n  ,4\nb.jpg,5\n")
    with pytest.warns(MediaWarning, match="3 files or labels"):
        data = load_csv(tmp_path / "own.csv", check=None)
    assert data.left_out["path"].tolist() == ["line 3", "line 4", "line 5"]
    assert set(data.left_out["problem"]) == {"its path is empty."}
    assert data.target["warmth"].tolist() == [1, 5]


def test_what_is_no_csv_file_is_named(tmp_path):
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "no.csv", "No such file")):
        with pytest.raises(DatasetFormatError, match=f"{path.name}.*{message}") as caught:
            load_csv(path)
        assert "Errno" not in str(caught.value)


def test_annotations_far_larger_than_real_ones_are_refused_early(copy):
    root = copy("afew-va")
    annotation = next(root.rglob("*.json"))
    annotation.write_text("[" + "[]," * 2_000_000 + "[]]")
    with pytest.warns(MediaWarning, match="more than 4,194,304 bytes"):
        load_afew_va(root)
    root = copy("aff-wild")
    text = next(path for path in sorted(root.rglob("*.txt")))
    text.write_text("valence,arousal\n" + "0,0\n" * 2_000_000)
    with pytest.warns(MediaWarning, match="more than 1,048,576 lines"):
        load_aff_wild(root)


@pytest.mark.parametrize("name", LOADERS)
def test_formats_are_recognised_in_folders_of_folders(copy, name, tmp_path):
    root = copy(name)
    plain = LOADERS[name](root)
    deep = tmp_path / "downloads" / "unpacked"
    deep.parent.mkdir()
    shutil.move(root, deep)
    found = load_dataset(tmp_path / "downloads")
    assert found.name == name
    assert [Path(p).name for p in found.data] == [Path(p).name for p in plain.data]
    pd.testing.assert_frame_equal(found.target, plain.target)


def test_clips_in_the_folders_of_their_archives_are_found(copy):
    root = copy("first-impressions")
    archive = root / "train-1" / "training80_01"
    archive.mkdir(parents=True)
    for clip in (root / "train").iterdir():
        clip.rename(archive / clip.name)
    (root / "annotations").mkdir()
    for file in root.glob("*.pkl"):
        file.rename(root / "annotations" / file.name)
    assert len(load_first_impressions(root).data) == 5


@pytest.mark.parametrize("name", LOADERS)
def test_a_folder_with_another_layout_is_refused(tmp_path, name):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DatasetFormatError, match=r"(?s)Expected in .*Found: notes\.txt"):
        LOADERS[name](tmp_path)
    with pytest.raises(DatasetFormatError, match="is not there; expected a folder"):
        LOADERS[name](tmp_path / "absent")
    with pytest.raises(DatasetFormatError, match="of none of the formats"):
        load_dataset(tmp_path)


def test_a_malicious_annotation_is_refused(copy, tmp_path):
    root = copy("first-impressions")
    mark = tmp_path / "it_ran"
    (root / "annotation_test.pkl").write_bytes(b"cos\nmkdir\n(S'%s'\ntR." % str(mark).encode())
    with pytest.raises(UnsafePickleError, match=r"annotation_test\.pkl.*'os\.mkdir'"):
        load_first_impressions(root)
    assert not mark.exists()
    assert len(load_first_impressions(root, "train").data) == 3


def test_one_warning_counts_and_names_what_was_left_out(copy):
    root = copy("afew-va")
    (root / "001" / "00001.png").unlink()
    (root / "002" / "00002.png").write_bytes(b"text")
    (root / "003" / "003.json").write_text("{")
    (root / "004" / "004.json").unlink()
    with pytest.warns(MediaWarning) as caught:
        data = load_afew_va(root)
    (warning,) = caught
    message = str(warning.message)
    assert "4 files or labels were left out, 10 samples kept" in message
    for name in ("001/00001.png", "002/00002.png", "003/003.json", "004/004.json"):
        assert name in message
    assert len(data.left_out) == 4
    assert warning.filename == __file__


@pytest.mark.parametrize("value", ["NaN", "1e999", "10.5", "1" + "0" * 400, '"3"', "true", "null"])
def test_what_is_not_a_label_of_afew_va_is_left_out(copy, value):
    root = copy("afew-va")
    path = root / "001" / "001.json"
    content = json.loads(path.read_text())
    content["frames"]["00001"]["valence"] = "HERE"
    for name in ("\u00b2", "9" * 5000, "first"):
        content["frames"][name] = content["frames"]["00000"]
    path.write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.warns(MediaWarning, match="frame 00001: no arousal and valence"):
        data = load_afew_va(root)
    assert len(data.data) == 19
    assert len(data.left_out) == 4


def test_case_matters_in_names_of_videos_but_not_in_suffixes(copy):
    root = copy("first-impressions")
    clip = sorted((root / "train").iterdir())[0]
    clip.rename(clip.with_suffix(".MP4"))
    assert len(load_first_impressions(root).data) == 5
    other = clip.with_suffix(".MP4")
    other.rename(other.with_name(other.name.swapcase()))
    with pytest.warns(MediaWarning, match="no such video"):
        assert len(load_first_impressions(root).data) == 4


def test_combined_sets_know_what_is_missing(miniatures):
    personality = load_first_impressions(miniatures / "first-impressions")
    emotion = load_afew_va(miniatures / "afew-va")
    other = load_aff_wild(miniatures / "aff-wild", "train")
    both = combine(emotion, personality, other)
    n = [len(data.data) for data in (emotion, personality, other)]
    assert both.data.tolist() == [*emotion.data, *personality.data, *other.data]
    assert list(both.target) == [*PERSONALITY_NAMES, "arousal", "valence"]
    assert both.target.notna().sum().tolist() == [n[1]] * 5 + [n[0] + n[2]] * 2
    np.testing.assert_array_equal(
        both.target.iloc[n[0] : n[0] + n[1], :5], personality.target.to_numpy()
    )
    assert both.groups[0] == "afew-va:001"
    assert (
        both.source.tolist() == np.repeat(["afew-va", "first-impressions", "aff-wild"], n).tolist()
    )
    twice = combine(emotion, emotion)
    assert len(set(twice.groups)) == 2 * len(set(emotion.groups))


def test_sets_that_contradict_each_other_are_not_combined(miniatures):
    root = miniatures / "first-impressions"
    published = load_first_impressions(root)
    flipped = load_first_impressions(root, flip_neuroticism=True)
    with pytest.raises(ValueError, match="opposite polarities"):
        combine(published, flipped)
    with pytest.raises(ValueError, match="nothing to combine"):
        combine()


@pytest.mark.parametrize(
    ("name", "annotation", "problem"),
    [
        ("omi", "ratings.csv", "no rating of this portrait"),
        ("aff-wild", "annotations/Train_Set/*.txt", "its last 1 frames have no label"),
    ],
)
def test_lines_that_are_gone_are_noticed_by_what_they_were_about(copy, name, annotation, problem):
    path = sorted(copy(name).glob(annotation))[0]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    root = next(parent for parent in path.parents if parent.name == name)
    with pytest.warns(MediaWarning, match=problem):
        LOADERS[name](root)


def damage(path, how, data):
    """Alter one file as disks, downloads and people do."""
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "renamed":
        path.rename(path.with_name(f"copy of {path.name}"))
    elif how == "truncated":
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        altered = bytearray(content)
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(altered) - 1))
            altered[place] = data.draw(st.integers(0, 255))
        path.write_bytes(altered)


@pytest.mark.parametrize("name", LOADERS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_is_reported_or_refused_by_name(miniatures, tmp_path, name, data):
    root = tmp_path / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(miniatures / name, root)
    whole = LOADERS[name](miniatures / name)
    labels = dict(
        zip(
            [str(Path(p).name) + g for p, g in zip(whole.data, whole.groups, strict=True)],
            whole.target.to_numpy().tolist(),
            strict=True,
        )
    )
    files = sorted(path for path in root.rglob("*") if path.is_file())
    hit = data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=6, unique=True))
    hows = []
    for path in hit:
        hows.append(data.draw(st.sampled_from(["missing", "renamed", "truncated", "altered"])))
        damage(path, hows[-1], data)
    check = data.draw(st.sampled_from(["open", "decode"]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded = LOADERS[name](root, check=check)
        except PersonaAffectError:
            return
    assert [w.category for w in caught] == [MediaWarning] * (not loaded.left_out.empty)
    for path in loaded.data:
        check_media(path, decode=check == "decode")
    # What nobody touched is there as before, unless its annotation was hit, which is text or data.
    if any(path.suffix in (".pkl", ".json", ".txt", ".csv") for path in hit):
        return
    for path, group, label in zip(
        loaded.data, loaded.groups, loaded.target.to_numpy(), strict=True
    ):
        assert labels[Path(path).name + group] == label.tolist()
    gone = [p for p, how in zip(hit, hows, strict=True) if how in ("missing", "renamed")]
    used = {Path(p).name + Path(p).parent.name for p in whole.data}
    if any(p.name + p.parent.name in used for p in gone):
        assert not loaded.left_out.empty
