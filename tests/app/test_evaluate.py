import pytest
from typer.testing import CliRunner

from persona_affect.app.cli import app
from persona_affect.datasets import write_miniature


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    write_miniature("omi", root / "omi", n_clips=4)
    write_miniature("afew-va", root / "va", n_clips=2, n_frames=2)
    return root


def test_the_bundled_model_on_its_own_impressions(sets, tmp_path):
    result = run("evaluate", "bundled", sets / "omi", "--resamples", "5")
    assert result.exit_code == 0, result.output
    assert "omi: 4 samples of 4 groups" in result.output
    for name in ("trustworthy", "outgoing", "personality mean", "baseline_rmse"):
        assert name in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bundled", "VA"], "the data have"),
        (["absent.safetensors", "OMI"], "absent.safetensors"),
        (["EMPTY", "OMI"], "contains no model"),
        (["bundled", "OMI", "--split", "test"], "No sample of omi"),
        (["bundled", "OMI", "--calibrate"], "belongs to --protocol"),
        (["bundled", "OMI", "--protocol", "persemon", "--split", "test"], "leave out --split"),
        (["bundled", "OMI", "--protocol", "other"], "there is persemon"),
        (["bundled"], "Name one data set"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(sets, tmp_path, arguments, message):
    names = {"VA": sets / "va", "OMI": sets / "omi", "EMPTY": tmp_path}
    result = run("evaluate", *(names.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
