"""Photos, clips and faces, as users write them: mypy reads this file, and nothing runs it."""

from collections.abc import Iterator, Sequence
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from persona_affect import FaceAligner
from persona_affect.faces import (
    DETECTORS,
    TEMPLATES,
    Detections,
    DetectorSpec,
    FaceClip,
    FaceQuality,
    FaceStream,
    FaceTracker,
    StoredFaces,
    Template,
    align_face,
    detect_faces,
    detect_with_yunet,
    estimate_pose,
    estimate_similarity,
    find_turned,
    follow_faces,
    get_detector_spec,
    measure_quality,
    register_detector,
    register_template,
    split_pieces,
    store_faces,
)
from persona_affect.media import (
    MAX_CLIP_BYTES,
    MAX_DURATION,
    MAX_FRAME_PIXELS,
    MAX_PHOTO_PIXELS,
    MAX_SAMPLED_FRAMES,
    PACK_SUFFIXES,
    PHOTO_SUFFIXES,
    VIDEO_SUFFIXES,
    Frame,
    FrameSequence,
    VideoWriter,
    check_media,
    count_frames,
    describe,
    file_on_disk,
    frame_rate,
    is_clip,
    is_pack,
    iter_frames,
    list_packed,
    list_samples,
    open_clip,
    open_file,
    open_photo,
    read_values,
    sample_around_times,
    sample_frames,
    segment_centres,
)


def read_media(path: Path) -> None:
    check_media(path, decode=True)
    assert_type(open_photo(path, max_pixels=MAX_PHOTO_PIXELS), NDArray[np.uint8])
    clip = open_clip(path, 10, max_duration=MAX_DURATION, max_bytes=MAX_CLIP_BYTES)
    assert_type(clip, NDArray[np.uint8])
    assert_type(count_frames(path, max_pixels=MAX_FRAME_PIXELS), int)
    assert_type(frame_rate(str(path)), float)
    assert_type(is_clip(clip), bool)
    assert_type(describe(clip), str)
    assert_type(list_samples([path, clip, b""]), list[Any])
    assert_type(segment_centres(min(len(clip), MAX_SAMPLED_FRAMES), 10), NDArray[np.intp])
    notes: list[str] = []
    assert_type(sample_frames(path, None, notes), Iterator[Frame])
    assert_type(sample_around_times(path, 25.0, notes), Iterator[Frame])
    for frame in iter_frames(path):
        assert_type(frame.image, NDArray[np.uint8])
        assert_type((frame.index, frame.time), tuple[int, float])
    assert_type(FrameSequence(("1.jpg", "2.jpg")).paths, tuple[str, ...])


def find_files(folder: Path) -> list[Path]:
    known = PHOTO_SUFFIXES | VIDEO_SUFFIXES | PACK_SUFFIXES
    return [path for path in folder.iterdir() if path.suffix in known]


def read_archive(path: Path) -> None:
    if is_pack(path):
        names, pairs = list_packed(path)
        assert_type(names, list[str])
        assert_type(pairs, list[tuple[str, str]])
        assert_type(file_on_disk(names[0]), str)
        with open_file(names[0]) as file:
            assert_type(file, BytesIO | BufferedReader)
        assert_type(read_values(path, texts=["person"]), pd.DataFrame)


def write_video(path: Path, frames: Sequence[Frame]) -> None:
    with VideoWriter(path, rate=25, size=(64, 48), quality=18) as video:
        for frame in frames:
            video.write(frame.image, frame.time)


def align_photos(paths: list[str]) -> None:
    aligner = FaceAligner(template="resnet29", rate=25.0, on_error="warn", cache="faces")
    assert_type(aligner.fit(), FaceAligner)
    clips: NDArray[np.object_] = aligner.transform(paths)
    assert_type(aligner.detect(paths), list[Detections])
    stored = store_faces(aligner, paths)
    assert_type(stored, list[StoredFaces])
    assert_type((stored[0].n_frames, stored[0].remarks), tuple[int, list[str]])
    assert_type(split_pieces(clips[0]), list[NDArray[np.uint8]])
    assert_type(FaceClip(clips[0], starts=(0, 3)).starts, tuple[int, ...])


def follow(images: list[NDArray[np.uint8]], aligner: FaceAligner) -> None:
    first, *_ = detect_faces(images[:1], min_face_size=40, max_faces=3)
    assert_type(first.boxes, NDArray[np.float32])
    found = follow_faces(images, [first.boxes] * len(images))
    assert_type(found, list[Detections])
    assert_type(detect_with_yunet(images), list[Detections])
    assert_type(aligner.detect_frames(images, max_faces=1), list[Detections])
    assert_type(aligner.follow_frames(images, [first.boxes]), list[Detections])
    assert_type(aligner.select_face(first, images[0]), int)
    assert_type(aligner.align_faces(images[0], first.landmarks), NDArray[np.uint8])
    assert_type(find_turned(aligner, images, found), list[str])
    assert_type(FaceTracker(memory=1.0).update(first, time=0.0), NDArray[np.intp])
    quality = measure_quality(images[0], first)
    assert_type(quality, FaceQuality)
    assert_type(quality.yaw, NDArray[np.float64])
    yaw, _, _ = estimate_pose(first.landmarks)
    assert_type(yaw, NDArray[np.float64])
    face, is_joined = FaceStream(aligner).add(images[0], time=0.0)
    assert_type(face, NDArray[np.uint8])
    assert_type(is_joined, bool)


def add_template(name: str, image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> None:
    register_template(name, Template(96, 96, TEMPLATES["sphereface"].landmarks))
    template = TEMPLATES[name]
    assert_type(template.points(margin=0.1), NDArray[np.float32])
    assert_type(estimate_similarity(landmarks, template.points()), NDArray[np.float64])
    assert_type(align_face(image, landmarks, template), NDArray[np.uint8])


def find_nothing(images: Sequence[NDArray[np.uint8]], **settings: object) -> list[Detections]:
    return [Detections.none() for _ in images]


def add_detector() -> None:
    register_detector(DetectorSpec("nothing", find_nothing, digest=lambda: "1"))
    assert_type(get_detector_spec("nothing"), DetectorSpec)
    assert_type(sorted(DETECTORS), list[str])
