"""Files of other versions."""

import pytest

from persona_affect import load_model, save_model
from persona_affect.exceptions import ModelFormatError
from persona_affect.persistence import _upgrades

from .conftest import EMBEDDINGS, ON_MATRICES, assert_equal, forge, results


class TestVersions:
    @pytest.fixture
    def path(self, tmp_path):
        save_model(ON_MATRICES["RAM"], tmp_path / "model")
        return tmp_path / "model"

    def test_newer(self, path):
        forge(path, lambda d: d.update(format_version=99))
        with pytest.raises(ModelFormatError, match=r"format 99.*Upgrade persona-affect"):
            load_model(path)

    @pytest.mark.parametrize("version", [None, "1", 1.5, [1]])
    def test_nonsense(self, path, version):
        forge(path, lambda d: d.update(format_version=version))
        with pytest.raises(ModelFormatError, match="format"):
            load_model(path)

    def test_older_without_a_way(self, path):
        forge(path, lambda d: d.update(format_version=0))
        with pytest.raises(ModelFormatError, match="Load it with the version that wrote it"):
            load_model(path)

    def test_older_with_a_way(self, path, monkeypatch):
        def rename(description):
            description["model"]["parameters"]["hidden"] = description["model"]["parameters"].pop(
                "n_hidden"
            )
            return description

        def as_if_older(description):
            description["format_version"] = 0
            description["model"]["parameters"]["n_hidden"] = description["model"]["parameters"].pop(
                "hidden"
            )

        forge(path, as_if_older)
        monkeypatch.setitem(_upgrades.UPGRADES, 0, rename)
        loaded = load_model(path)
        assert_equal(results(loaded, EMBEDDINGS), results(ON_MATRICES["RAM"], EMBEDDINGS))

    def test_parameters_of_later_versions_take_their_defaults(self, path):
        forge(path, lambda d: d["model"]["parameters"].pop("verbose"))
        assert load_model(path).verbose == 0
