import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import persona_affect
from persona_affect import exceptions
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


def test_the_version():
    result = run(app, ["--version"])

    assert result.exit_code == 0
    assert result.stdout == f"persona-affect {persona_affect.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.MediaReadError("x.mp4 is not a video."), 1),
        (exceptions.TrainingDivergedError("The loss is NaN."), 1),
        (exceptions.ModelFormatError("x is no model."), 2),
        (ValueError("[bold]seed[/] must be positive."), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_ends_by_the_table(monkeypatch, error, code):
    def fail(path):
        error.add_note("A note.")
        raise error

    monkeypatch.setattr("persona_affect.persistence.read_model_info", fail)
    result = run(app, ["info"])

    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"Error: {str(error) or 'interrupted.'} A note.\n"


def test_a_fault_of_the_package_keeps_its_traceback(monkeypatch):
    def fail(path):
        raise ZeroDivisionError

    monkeypatch.setattr("persona_affect.persistence.read_model_info", fail)
    assert isinstance(run(app, ["info"]).exception, ZeroDivisionError)


@pytest.mark.skipif(sys.platform == "win32", reason="no broken pipes")
def test_a_reader_that_stops_early_is_not_an_error():
    command = [sys.executable, "-m", "persona_affect", "info"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert (process.wait(120), stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_results_on_a_full_disk_are_a_named_error():
    command = [sys.executable, "-m", "persona_affect", "info"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.stderr == b"Error: the output cannot be written: the disk is full.\n"
    assert done.returncode == 1


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
