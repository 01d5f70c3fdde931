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
