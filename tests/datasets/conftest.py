import shutil

import pytest

from persona_affect.datasets import write_miniature


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory):
    """Folder with a miniature of each data set, not to be changed."""
    root = tmp_path_factory.mktemp("miniatures")
    for name in ("first-impressions", "afew-va", "aff-wild", "omi"):
        write_miniature(name, root / name, n_clips=5, n_frames=4)
    return root


@pytest.fixture
def copy(miniatures, tmp_path):
    """Make a copy of one of them that may be changed."""

    def copy(name):
        return shutil.copytree(miniatures / name, tmp_path / name)

    return copy
