"""Annotation, plots and protocols, as users write them: mypy reads this file, nothing runs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

import persona_affect as pa
from persona_affect import ConformalAffect, FaceAligner, FrameAnnotator, PersonDynamicsEncoder
from persona_affect.annotation import (
    CAVEAT,
    PLACE,
    REACH,
    RELIABILITY,
    CsvTable,
    Seen,
    Session,
    check_photo_model,
    check_table_path,
    count_digits,
    draw_faces,
    format_value,
    open_camera,
    open_table,
    rate_reliability,
    rating_range,
    read_frames,
    target_ranges,
)
from persona_affect.app.web import Limits, running
from persona_affect.distributed import align_in_chunks, join_processes, transform_in_chunks
from persona_affect.engines import (
    ENGINES,
    PRECISIONS,
    EngineReport,
    compile,
    export_onnx,
    get_report,
)
from persona_affect.exceptions import (
    DatasetFormatError,
    EngineError,
    EngineWarning,
    FaceStoreError,
    FewLabelsWarning,
    InvalidImageError,
    MediaLimitError,
    MediaReadError,
    MediaWarning,
    MediaWriteError,
    MissingDependencyError,
    ModelFormatError,
    ModelReadError,
    NoFaceWarning,
    OutputError,
    OutputInUseError,
    OutputPathError,
    PersonaAffectError,
    TrainingDivergedError,
    UnsafePickleError,
    WeightsError,
)
from persona_affect.faces import measure_quality
from persona_affect.inspection import (
    AUDIT_DISTURBANCES,
    DISTURBANCE_KINDS,
    DISTURBANCES,
    AffectTimelineDisplay,
    Audit,
    AuditDisplay,
    CircumplexDisplay,
    Disturbance,
    DynamicsDisplay,
    ModelCard,
    RatingDistribution,
    RelationDisplay,
    SaliencyDisplay,
    TraitDisplay,
    audit,
    check_saliency_labels,
    check_saliency_weights,
    disturb_faces,
    draw_regions,
    explain_faces,
    find_circumplex_names,
    iter_face_tracks,
    model_card,
    score_saliency,
)
from persona_affect.media import Frame
from persona_affect.protocols import (
    ABLATIONS,
    PUBLISHED,
    AffineCalibration,
    NewHeads,
    assign_parts,
    evaluate_persemon,
    evaluate_predictions,
    run_persemon,
    to_markdown,
    train_heads,
    write_results,
)

Rows = list[dict[str, Any]]


def annotate(model: Pipeline, clip: Path) -> None:
    annotator = FrameAnnotator(model, detect_every=5, smooth=0.5, batch_size=4)
    assert_type(annotator.to_dataframe(clip), pd.DataFrame)
    assert_type(annotator.to_video(clip, "faces.mp4"), pd.DataFrame)
    annotator.to_file(clip, ["rows.csv", "rows.srt"], video="faces.mp4", resume=True)
    assert_type(annotator.annotate(clip), Iterator[dict[str, Any]])
    for frame, rows in annotator.annotate_frames(clip):
        assert_type(frame, Frame)
        assert_type(rows, Rows)
        assert_type(draw_faces(frame.image, rows, ["valence"]), NDArray[np.uint8])
    assert_type(annotator.columns, list[str])


def annotate_live(model: Pipeline, path: Path) -> None:
    check_table_path(path, subtitles=True)
    annotator = FrameAnnotator(check_photo_model(model), track=False, reliability=True)
    session = annotator.session()
    assert_type(session, Session)
    assert_type(read_frames(open_camera(0), rate=25.0), Iterator[Frame])
    with open_table(path, annotator.kinds) as table:
        for image in open_camera(0):
            frame = Frame(0, 0.0, image)
            seen = session.examine([frame], 0, lambda: np.zeros((0, 4), np.float32))
            assert_type(seen, Seen)
            quality = measure_quality(image, seen.faces[0])
            assert_type(rate_reliability(quality), tuple[NDArray[np.float64], list[str]])
            rows: Rows = session.annotate([frame])[0]
            table.write(rows)
    with path.open("w") as file:
        CsvTable(file, annotator.kinds).close()


def show_values(model: Pipeline, row: dict[str, float]) -> list[str]:
    assert_type(target_ranges(model), dict[str, tuple[float, float]])
    low, _ = rating_range(mean=0.5, std=0.1) or (-REACH, REACH)
    digits = count_digits(0.1)
    hidden = {*PLACE, *RELIABILITY}
    values = [format_value(value, 0.1) for name, value in row.items() if name not in hidden]
    return [CAVEAT, f"{low:.{digits}f}", *values]


def run_fast(model: Pipeline, path: Path) -> None:
    fast = compile(model, max(ENGINES), PRECISIONS[0], mirror=False)
    assert_type(fast, Pipeline)
    assert_type(get_report(fast), EngineReport | None)
    export_onnx(model, path, notes={"licence": "CC0"})


def spread(model: Pipeline, paths: list[str], folder: Path) -> None:
    if join_processes() == 0:
        assert_type(align_in_chunks(FaceAligner(cache=folder), paths, n_jobs=2), pd.DataFrame)
    assert_type(transform_in_chunks(model, paths, folder), NDArray[np.floating])


def serve(model: Pipeline | ConformalAffect) -> None:
    with running(model, port=8000, limits=Limits(clip_seconds=30.0)) as address:
        assert_type(address, str)


def plot(model: Pipeline, photos: list[str], y: pd.DataFrame, clip: Path) -> list[Figure]:
    traits = TraitDisplay.from_estimator(model, photos, kind="radar")
    assert_type(traits, TraitDisplay)
    reference = RatingDistribution.from_estimator(model)
    assert_type(reference.percentile([0.5] * 6), NDArray[np.float64])
    arousal, valence = find_circumplex_names(model)
    predicted = pd.DataFrame(model.predict(photos), columns=list(y.columns))
    circle = CircumplexDisplay.from_predictions(
        predicted, arousal_name=arousal, valence_name=valence, reference=reference
    )
    table = FrameAnnotator(model).to_dataframe(clip)
    timeline = AffectTimelineDisplay.from_predictions(table, targets=["valence"])
    assert_type(timeline, AffectTimelineDisplay)
    assert_type(iter_face_tracks(table), Iterator[tuple[int, pd.DataFrame]])
    relation = RelationDisplay.from_data(y[["arousal", "valence"]], y[["openness"]], cv=3)
    assert_type(relation.scores, pd.DataFrame)
    figures = [relation.figure_, pa.inspection.TraitDisplay.from_predictions(predicted).figure_]
    return [*figures, traits.plot().figure_, circle.figure_, timeline.figure_]


def plot_dynamics(encoder: PersonDynamicsEncoder, clips: NDArray[np.object_]) -> None:
    moments = DynamicsDisplay.from_estimator(encoder, clips[0])
    assert_type(moments, DynamicsDisplay)
    assert_type(DynamicsDisplay.from_difference(encoder, clips[0], clips[1:]), DynamicsDisplay)


def explain(model: Pipeline, faces: NDArray[np.object_], y: pd.DataFrame) -> None:
    maps = explain_faces(model, faces, "valence", method="occlusion", baseline="blur")
    assert_type(maps, NDArray[np.float64])
    assert_type(score_saliency(model, faces, maps, "valence"), pd.DataFrame)
    assert_type(check_saliency_weights(model, faces, "valence"), pd.DataFrame)
    assert_type(check_saliency_labels(model, faces, y, "valence"), "pd.Series[Any]")
    assert_type(SaliencyDisplay.from_estimator(model, faces, "valence").plot(), SaliencyDisplay)


def audit_model(model: Pipeline, photos: list[str], y: pd.DataFrame, folder: Path) -> None:
    report = audit(model, photos, y, sensitive={"age": [20, 30]}, disturbances=AUDIT_DISTURBANCES)
    assert_type(report, Audit)
    assert_type(report.table("error", "age"), pd.DataFrame)
    assert_type(report.to_markdown(), str)
    assert_type(AuditDisplay(report).plot("age"), AuditDisplay)
    card = model_card(audit=report, audited_on="own photos")
    assert_type(card, ModelCard)
    card.save(folder / "card.html")


def disturb(faces: list[NDArray[np.uint8]]) -> None:
    darker = Disturbance("darker", min(DISTURBANCE_KINDS), -1.0)
    assert_type(darker.apply(faces[0][0]), NDArray[np.uint8])
    assert_type(disturb_faces(faces, darker, "sphereface", 0.0), NDArray[np.object_])
    assert_type(DISTURBANCES["brighter"], Disturbance)
    points = np.zeros((5, 2))
    assert_type(draw_regions(points, (112, 96)), dict[str, NDArray[np.float64]])


def repeat_paper(data: Bunch, model: Pipeline, folder: Path) -> str:
    assert_type(assign_parts(data), NDArray[np.str_])
    result = run_persemon(data, preset="demo", ablation=min(ABLATIONS), folder=folder)
    write_results(evaluate_persemon({"own": model}, data, n_resamples=10), folder)
    assert_type(PUBLISHED, pd.DataFrame)
    return to_markdown(result)


def train_on_own(start: Pipeline, photos: list[str], y: pd.DataFrame, groups: list[str]) -> None:
    heads = train_heads(start, photos, y, personality=["warm"], emotion=[], groups=groups)
    assert_type(heads, NewHeads)
    assert_type(heads.scores, pd.DataFrame)
    calibration = AffineCalibration().fit(y, heads.predictions)
    adjusted = calibration.transform(heads.predictions)
    assert_type(adjusted, pd.DataFrame)
    table = evaluate_predictions(
        y, adjusted, groups=groups, baseline=y.mean(), personality=["warm"], emotion=[]
    )
    assert_type(table, pd.DataFrame)


def handle(error: PersonaAffectError) -> str:
    if isinstance(error, MediaReadError | MediaLimitError | InvalidImageError):
        return "another photo"
    if isinstance(error, OutputInUseError | OutputPathError | MediaWriteError | OutputError):
        return "another file"
    if isinstance(error, ModelReadError | ModelFormatError | WeightsError | EngineError):
        return "another model"
    if isinstance(error, UnsafePickleError | DatasetFormatError | FaceStoreError):
        return "another folder"
    if isinstance(error, MissingDependencyError):
        return f"pip install {error.name}"
    assert isinstance(error, TrainingDivergedError)
    return "a lower learning rate"


WARNINGS: list[type[UserWarning]] = [EngineWarning, MediaWarning, NoFaceWarning, FewLabelsWarning]
