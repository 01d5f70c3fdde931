"""The conda recipe and the Dockerfile agree with pyproject.toml and with the command line."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement

import persona_affect
from persona_affect.app.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: conda-forge's name of a package that is called otherwise elsewhere.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "opencv-python": "py-opencv", "torch": "pytorch"}


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def instructions():
    """The lines of the Dockerfile as pairs of an instruction and its arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line]


def test_the_recipe_has_the_requirements_of_the_project(recipe):
    def as_pairs(requirements):
        return {(r.name, r.specifier) for r in map(Requirement, requirements)}

    expected = {
        (CONDA_NAMES.get(name, name), versions)
        for name, versions in as_pairs(PROJECT["dependencies"])
    } | as_pairs([f"python{PROJECT['requires-python']}"])
    assert as_pairs(recipe["requirements"]["run"]) == expected


def test_the_recipe_has_the_version_commands_and_licences_of_the_project(recipe):
    assert recipe["context"]["version"] == persona_affect.__version__
    commands = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands
    about = recipe["about"]
    assert (about["license"], about["license_file"], about["summary"]) == (
        PROJECT["license"],
        PROJECT["license-files"],
        PROJECT["description"],
    )


def test_the_image_has_no_root_and_a_check_of_its_health(instructions):
    last_stage = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    stage = dict(instructions[last_stage:])

    assert int(stage["USER"]) > 0
    options, check = stage["HEALTHCHECK"].split(" CMD ")
    assert "--timeout" in options
    python, flag, code = json.loads(check)
    assert (python, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert f":{stage['EXPOSE']}/" in code


def test_the_image_starts_a_command_that_there_is(instructions):
    command, name, *options = json.loads(dict(instructions)["ENTRYPOINT"])
    assert command in PROJECT["scripts"]
    serve = typer.main.get_command(app).commands[name]

    values = serve.make_context(name, options).params

    assert (values["host"], str(values["port"])) == ("0.0.0.0", dict(instructions)["EXPOSE"])


def test_the_image_is_built_from_files_that_there_are(instructions):
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        source
        for name, arguments in instructions
        if name == "COPY" and "--from" not in arguments
        for source in shlex.split(arguments)[:-1]
    }
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert not {source for source in copied if not (ROOT / source).exists()}

    needed = {PROJECT["readme"], "pyproject.toml", "constraints.txt", "persona_affect"}
    assert needed <= copied
    installs = " ".join(arguments for name, arguments in instructions if name == "RUN")
    (extras,) = re.findall(r"\"\.\[(.+)\]\"", installs)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_image_has_a_python_on_which_all_tests_are_run(instructions):
    versions = {
        re.match(r"python:(\d+\.\d+)-", arguments)[1]
        for name, arguments in instructions
        if name == "FROM"
    }
    tested = {
        classifier.rpartition(" ")[2]
        for classifier in PROJECT["classifiers"]
        if re.search(r":: \d\.\d+$", classifier)
    }
    assert versions <= tested
