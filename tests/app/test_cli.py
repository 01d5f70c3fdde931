import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import persona_affect
from persona_affect.app.cli import app

run = CliRunner().invoke


def test_info_names_the_versions():
    result = run(app, ["info"])

    assert result.exit_code == 0
    assert persona_affect.__version__ in result.stdout


def test_help_says_what_predictions_are_not():
    result = run(app, ["--help"])

    assert result.exit_code == 0
    assert "not what people are" in result.stdout


def test_info_shows_the_bundled_model():
    result = run(app, ["info"])

    assert "trustworthy" in result.stdout
    assert "CC BY-NC-SA 4.0" in result.stdout
    assert "never for hiring" in " ".join(result.stdout.split())


def test_info_of_a_model_that_is_not_there():
    result = run(app, ["info", "--model", "nowhere.safetensors"])

    assert result.exit_code == 2
    assert "nowhere.safetensors" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["predict", "annotate", "live", "info"])
def test_help_has_an_example(command):
    result = run(app, [command, "--help"])

    assert result.exit_code == 0
    assert f"persona-affect {command} " in result.stdout


def test_help_is_fast_and_completion_works():
    """Nothing heavy is imported to say what there is."""
    script = (
        "import sys; from persona_affect.app.cli import app\n"
        "try: app(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'sklearn', 'cv2', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    environment = {
        **os.environ,
        "_PERSONA_AFFECT_COMPLETE": "complete_bash",
        "COMP_WORDS": "persona-affect pre",
        "COMP_CWORD": "1",
    }
    script = "from persona_affect.app.cli import app; app(prog_name='persona-affect')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["predict"], done.stderr
