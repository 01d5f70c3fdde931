"""Photos and clips inside tar archives and Parquet files, read where they lie."""

import io
import os
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from persona_affect import FaceAligner
from persona_affect.exceptions import MediaLimitError, MediaReadError, MissingDependencyError
from persona_affect.media import (
    FrameSequence,
    VideoWriter,
    _parquet,
    _paths,
    check_media,
    file_on_disk,
    is_clip,
    list_packed,
    open_clip,
    open_photo,
)

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(value=0, size=(40, 32)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 128, 255 - value)).save(file, "png")
    return file.getvalue()


def write_tar(path, members, mode="w", **special):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, kind in special.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return str(path)


def write_parquet(path, contents, row_group_size=2, **columns):
    image = pa.array(
        [None if c is None else {"bytes": c, "path": None} for c in contents],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": image, **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    return str(path)


@pytest.fixture(params=["tar", "parquet"])
def pack(request, tmp_path):
    contents = [png(value) for value in (10, 20, 30)]
    if request.param == "tar":
        members = [(f"./person/{i}.png", content) for i, content in enumerate(contents)]
        return write_tar(tmp_path / "shard-000.tar", members)
    return write_parquet(tmp_path / "part-000.parquet", contents)


def test_packed_photos_are_accepted_as_paths(pack):
    paths, problems = list_packed(pack)
    assert problems == []
    assert [path.removeprefix(pack) for path in paths] == (
        [f"/person/{i}.png" for i in range(3)]
        if pack.endswith("tar")
        else [f"/image/{i}" for i in range(3)]
    )
    for path, value in zip(paths, (10, 20, 30), strict=True):
        assert not is_clip(path)
        check_media(path, decode=True)
        assert file_on_disk(path) == pack
        np.testing.assert_array_equal(open_photo(path)[0, 0], [value, 128, 255 - value])
    assert open_clip(FrameSequence(tuple(paths)))[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_aligned_faces_are_those_of_the_file_itself(pack, tmp_path):
    paths, _ = list_packed(pack)
    single = tmp_path / "0.png"
    single.write_bytes(png(10))
    aligner = FaceAligner(cache=tmp_path / "faces")
    aligner.transform(paths)
    (index,) = (tmp_path / "faces").glob("*/*.jsonl")
    assert len(index.read_text().splitlines()) == 3
    # Its content is known already.
    aligner.transform([str(single)])
    assert len(index.read_text().splitlines()) == 3


def test_a_video_in_an_archive(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", rate=25, size=(64, 48)) as video:
        for value in range(0, 250, 50):
            video.write(np.full((48, 64, 3), value, np.uint8))
    tar = write_tar(tmp_path / "clips.TAR", [("a.mp4", (tmp_path / "a.mp4").read_bytes())])
    (path,), _ = list_packed(tar)
    assert is_clip(path)
    check_media(path)
    np.testing.assert_array_equal(open_clip(path), open_clip(tmp_path / "a.mp4"))


def test_a_folder_may_have_such_a_name(tmp_path):
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "a.png").write_bytes(png(7))
    assert open_photo(tmp_path / "x.tar" / "a.png")[0, 0, 0] == 7


def test_bad_members_are_named_and_others_are_read(tmp_path):
    tar = write_tar(
        tmp_path / "a.tar",
        [("good.png", png(1)), ("../up.png", png(2)), ("good.png", png(3)), ("empty.png", b"")],
        link=tarfile.SYMTYPE,
        device=tarfile.CHRTYPE,
    )
    paths, problems = list_packed(tar)
    assert paths == [f"{tar}/good.png"]
    assert open_photo(paths[0])[0, 0, 0] == 1
    assert [(path.removeprefix(tar), problem.split(",")[0]) for path, problem in problems] == [
        ("/../up.png", "its name points out of the archive."),
        ("/good.png", "the archive has another member of this name before it."),
        ("/empty.png", "it is empty."),
        ("/link", "it is a link or another special member"),
        ("/device", "it is a link or another special member"),
    ]
    with pytest.raises(MediaReadError, match=r"link in .*a\.tar: it is a link"):
        open_photo(f"{tar}/link")
    with pytest.raises(MediaReadError, match=r"other\.png in .*: the archive has no such member"):
        open_photo(f"{tar}/other.png")


def test_a_truncated_archive_keeps_its_first_members(tmp_path):
    tar = write_tar(tmp_path / "a.tar", [(f"{i}.png", png(i)) for i in range(4)])
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: 1024 * 3 + 600])
    paths, problems = list_packed(tar)
    assert [os.path.basename(path) for path in paths] == ["0.png", "1.png", "2.png"]
    assert "breaks off" in problems[0][1] or "damaged" in problems[0][1]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_archive_is_refused(tmp_path, mode):
    tar = write_tar(tmp_path / "a.tar", [("0.png", png())], mode=mode)
    with pytest.raises(MediaReadError, match=r"is compressed .* decompress it"):
        list_packed(tar)


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_what_is_no_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(MediaReadError, match=f"{name} is no .*, or is damaged"):
        list_packed(tmp_path / name)
    with pytest.raises(MediaReadError, match="damaged"):
        open_photo(tmp_path / name / "image/0")


def test_a_header_of_endless_length_is_not_read(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(MediaReadError, match="a header is too long"):
        list_packed(tmp_path / "a.tar")


def test_limits_hold(pack, monkeypatch):
    paths, _ = list_packed(pack)
    monkeypatch.setattr(_paths, "MAX_PHOTO_BYTES", 10)
    with pytest.raises(MediaLimitError, match="more than 10: unpack it"):
        open_photo(paths[0])


def test_row_groups_that_are_too_large_for_memory(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", [png(1), png(2)])
    monkeypatch.setattr(_parquet, "_MAX_GROUP", 10)
    with pytest.raises(MediaLimitError, match="row_group_size=100"):
        open_photo(f"{path}/image/0")


def test_rows_without_a_picture_and_rows_that_are_not_there(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [png(1), None, b"", png(2)])
    assert open_photo(f"{path}/image/3")[0, 0, 0] == 2
    for row in (1, 2):
        with pytest.raises(MediaReadError, match=rf"row {row} of .*a\.parquet has no picture"):
            open_photo(f"{path}/image/{row}")
    for name in ("image/4", "image/-1", "label/0", "image", "image/x"):
        with pytest.raises(MediaReadError, match=r"has no .*: after its name come a column"):
            open_photo(f"{path}/{name}")


def test_a_damaged_row_group_costs_its_own_rows(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [png(i) for i in range(4)])
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 40)
    with pytest.raises(MediaReadError, match="around it are damaged"):
        open_photo(f"{path}/image/0")
    assert open_photo(f"{path}/image/3")[0, 0, 0] == 3


def test_the_column_of_pictures(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [png(1)], mask=pa.array([png(9)]))
    with pytest.raises(MediaReadError, match=r"columns \['image', 'mask'\]: say which of them"):
        list_packed(path)
    paths, _ = list_packed(path, "mask")
    assert open_photo(paths[0])[0, 0, 0] == 9
    pd.DataFrame({"label": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(MediaReadError, match="has no column of encoded pictures"):
        list_packed(tmp_path / "b.parquet")


def test_an_archive_that_was_replaced_is_read_anew(tmp_path):
    tar = write_tar(tmp_path / "a.tar", [("0.png", png(1)), ("1.png", png(2))])
    assert open_photo(f"{tar}/0.png")[0, 0, 0] == 1
    write_tar(tmp_path / "a.tar", [("new.png", png(5, (64, 64))), ("0.png", png(4))])
    os.utime(tar, ns=(1, 1))
    assert open_photo(f"{tar}/0.png")[0, 0, 0] == 4


def test_without_pyarrow_its_extra_is_named(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", [png(1)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"persona-affect\[parquet\]"):
        list_packed(path)
