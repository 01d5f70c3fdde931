"""Pages as notebooks, run as Jupyter runs them."""

import importlib.util
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
nbclient = pytest.importorskip("nbclient", reason="needs the extra docs")
nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
pytest.importorskip("sphinx_gallery", reason="needs the extra docs")
pytest.importorskip("ipykernel", reason="needs the extra docs")

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = ("plot_01_photo", "plot_02_clip_timeline", "plot_04_joint_training")


@pytest.fixture(scope="module")
def notebooks():
    spec = importlib.util.spec_from_file_location("notebooks", DOCS / "_ext/notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """Run a notebook, and return its outputs, cell by cell."""

    def run(notebook):
        # pytest's settings for plots and warnings are not those of a notebook.
        env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "TQDM_DISABLE")}
        client = nbclient.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute(env=env)
        return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]

    return run


def as_notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def written(outputs):
    """Return what cells wrote, as text: warnings are among it."""
    return "".join(o.text for cell in outputs for o in cell if o.output_type == "stream")


def test_the_start_page_runs_from_its_notebook(notebooks, run):
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    outputs = run(notebooks.make_page_notebook(text))
    assert len(outputs) == 1 + text.count("```python\n")
    assert "Warning" not in written(outputs)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_from_its_notebook(notebooks, run, name):
    outputs = run(notebooks.make_gallery_notebook(notebooks.GALLERY / f"{name}.py"))
    assert written(outputs) == ""
    pictures = [
        output
        for output in outputs[-1]
        if "image/png" in output.data or "<img" in output.data.get("text/html", "")
    ]
    # Once, and not once more by the notebook itself.
    assert len(pictures) == 1


def test_estimators_displays_and_progress_look_right(run):
    outputs = run(
        as_notebook(
            "from persona_affect import FaceAligner, load_model\n"
            "from persona_affect.datasets import make_affect_faces\n"
            "faces = make_affect_faces(2, random_state=0).data\n"
            "FaceAligner(verbose=True).fit_transform(faces)[0].shape",
            "model = load_model()\nmodel",
            "from persona_affect.inspection import TraitDisplay\n"
            "display = TraitDisplay(faces[0][:1, :2, 0] / 255, target_names=['warm', 'smart'])",
            "display",
            "display.plot()",
            "display",
        )
    )
    assert "faces: 100%" in written(outputs[:1])
    assert "Warning" not in written(outputs)
    assert "sk-top-container" in outputs[1][0].data["text/html"]
    assert outputs[3][0].data["text/html"] == "<code>TraitDisplay(not plotted)</code>"
    for cell in outputs[4:]:
        assert [set(o.data) for o in cell] == [{"text/html", "text/plain"}]
        assert '<img alt="TraitDisplay' in cell[0].data["text/html"]
        assert cell[0].data["text/plain"] == "TraitDisplay()"
