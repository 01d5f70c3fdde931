"""Build the wheel and the sdist, check both, and use the wheel alone in a fresh environment.

    python .ci/release.py

The Python that runs this has the repository installed, with the extra `release` and scikit-image.
Files are written to dist/; the environment is made in .cache/ and removed at the end.
"""

import csv
import io
import math
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_WHEEL_BYTES = 12_000_000
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
PORTRAIT = (
    "import sys; from PIL import Image; from skimage import data;"
    "Image.fromarray(data.astronaut()).save(sys.argv[1])"
)


def run(*command, cwd=ROOT):
    """Run a command, and return what it prints; its errors are shown as they come."""
    print("+", *command, flush=True)
    arguments = [str(argument) for argument in command]
    return subprocess.run(arguments, cwd=cwd, check=True, stdout=subprocess.PIPE).stdout


def build(folder):
    """Build the sdist, and the wheel from the sdist."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", folder)
    run(sys.executable, "-m", "twine", "check", "--strict", *folder.iterdir())
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def difference(packed, tracked):
    """Say which files one of the two sets has and the other has not."""
    more, missing = sorted(packed - tracked), sorted(tracked - packed)
    return f"not in git: {more}; missing: {missing}" if more or missing else ""


def check_wheel(wheel, tracked, version):
    """Check the files, the licences, the version and the size of the wheel."""
    assert wheel.stat().st_size < MAX_WHEEL_BYTES, f"{wheel.name} has {wheel.stat().st_size} bytes"
    with zipfile.ZipFile(wheel) as archive:
        about = f"persona_affect-{version}.dist-info"
        names = set(archive.namelist())
        package = {name for name in names if not name.startswith(f"{about}/")}
        ours = {name for name in tracked if name.startswith("persona_affect/")}
        wrong = difference(package, ours)
        assert not wrong, f"{wheel.name}: {wrong}"
        for licence in ("LICENSE", "persona_affect/models/LICENSE"):
            text = archive.read(f"{about}/licenses/{licence}")
            assert text == (ROOT / licence).read_bytes(), f"{licence} differs in {wheel.name}"
        metadata = message_from_bytes(archive.read(f"{about}/METADATA"))
    assert metadata["Version"] == version
    assert metadata["License-Expression"]
    assert metadata.get_payload().startswith("# persona-affect")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def check_sdist(sdist, tracked):
    """Check that the sdist has the files of the repository and no others."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    wrong = difference(names - {"PKG-INFO"}, tracked)
    assert not wrong, f"{sdist.name}: {wrong}"
    print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def predict(command, photo):
    """Predict a photo, and return the numbers by target."""
    text = run(*command, "predict", photo, cwd=photo.parent).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert not row.get("error"), row["error"]
    names = ("trustworthy", "happy", "dominant")
    numbers = {name: float(row[name]) for name in names}
    assert all(math.isfinite(number) and 0 <= number <= 100 for number in numbers.values())
    return numbers


def use_wheel(wheel, folder, version):
    """Install the wheel and what it needs, nothing else, and use it outside of the repository."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", folder / "venv")
    python, command = folder / "venv/bin/python", folder / "venv/bin/persona-affect"
    constraints = ROOT / "constraints.txt"
    # Without byte code: Python writes that of the modules that it imports.
    run(python, "-m", "pip", "install", "-q", "--no-compile", "-c", constraints, wheel)
    run(python, "-m", "pip", "check")
    assert run(command, "--version", cwd=folder).decode() == f"persona-affect {version}\n"

    photo = folder / "portrait.png"
    run(sys.executable, "-c", PORTRAIT, photo)
    alone = predict([command], photo)
    here = predict([sys.executable, "-m", "persona_affect"], photo)
    print(f"scikit-image's portrait, with the wheel alone: {alone}")
    assert all(abs(alone[name] - here[name]) < 0.1 for name in here), f"the repository: {here}"

    for module in ("persona_affect", "persona_affect.estimators"):
        times = [float(run(python, "-c", IMPORT.format(module), cwd=folder)) for _ in range(3)]
        print(f"import {module}: {min(times):.2f} s, the best of {len(times)}")
    shutil.rmtree(folder)


def main():
    """Run all checks."""
    text = (ROOT / "persona_affect/__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]
    tracked = {name.decode() for name in run("git", "ls-files", "-z").split(b"\0") if name}
    wheel, sdist = build(ROOT / "dist")
    check_wheel(wheel, tracked, version)
    check_sdist(sdist, tracked)
    use_wheel(wheel, ROOT / ".cache/release", version)


if __name__ == "__main__":
    main()
