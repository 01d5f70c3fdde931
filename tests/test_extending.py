"""Parts from outside: the example runs, and the page shows its code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples/extend.py"


@pytest.mark.parametrize("part", ["backbone", "term", "data set", "detector"])
def test_the_page_shows_the_code_of_the_example(part):
    script, page = SCRIPT.read_text(), (ROOT / "docs/extending.md").read_text()
    code = script.split(f"# begin {part}\n")[1].split(f"# end {part}\n")[0].strip()
    assert f"```python\n{code}\n```" in page


@pytest.mark.slow
def test_the_example_trains_saves_and_loads_in_a_fresh_process():
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "predicts the same" in run.stdout
    assert "One that does not: The model uses the backbone 'small_grey'" in run.stdout
