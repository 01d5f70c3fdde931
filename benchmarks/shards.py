"""Memory and time of data sets in tar shards and Parquet files, by their number of photos.

    OMP_NUM_THREADS=1 python benchmarks/shards.py --csv benchmarks/results/scale_shards.csv

Writes one file of 1,000, 10,000 and 100,000 JPEG photos (noise of 96 x 112 pixels, 100 different
ones) with a label each. Fresh processes then load the data set and read some of the photos in
order; resident memory is printed before, after loading, and at its peak, and processor seconds.
"""

import argparse
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from persona_affect.datasets import load_parquet, load_webdataset
from persona_affect.media import open_photo

LOADERS = {"tar": load_webdataset, "parquet": load_parquet}
READ = 5_000


def photos() -> list[bytes]:
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (112, 96, 3), np.uint8)
        Image.fromarray(pixels).save(file, "jpeg", quality=60)
        found.append(file.getvalue())
    return found


def write(path: Path, n_photos: int) -> None:
    content = photos()
    if path.suffix == ".parquet":
        rows = [content[i % 100] for i in range(n_photos)]
        table = pd.DataFrame({"image": rows, "warm": np.linspace(0, 1, n_photos)})
        table.to_parquet(path, row_group_size=100)
        return
    with tarfile.open(path, "w") as shard:
        for i in range(n_photos):
            label = json.dumps({"warm": i / n_photos}).encode()
            for name, part in ((f"{i:06d}.jpg", content[i % 100]), (f"{i:06d}.json", label)):
                member = tarfile.TarInfo(name)
                member.size = len(part)
                shard.addfile(member, io.BytesIO(part))


def resident(kind: str = "VmRSS") -> float:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+)", text)[1]) / 1024


def measure(path: Path) -> dict[str, float]:
    before, started = resident(), time.process_time()
    data = LOADERS[path.suffix[1:]](path, check=None)
    listed, loaded = time.process_time() - started, resident()
    peak, started = loaded, time.process_time()
    for i, photo in enumerate(data.data[:READ]):
        open_photo(photo)
        if i % 100 == 0:
            peak = max(peak, resident())
    rate = min(READ, len(data.data)) / (time.process_time() - started)
    return {
        "before_mib": before, "listed_mib": loaded, "peak_mib": peak,
        "listed_s": listed, "photos_a_second": rate,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows = []
    for kind in LOADERS:
        for n_photos in (1_000, 10_000, 100_000):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"train-0000.{kind}")
                write(path, n_photos)
                call = [sys.executable, __file__, "--measure", str(path)]
                found = json.loads(subprocess.check_output(call))
            rows.append({"form": kind, "samples": n_photos, **found})
            print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1))
    if options.csv:
        pd.DataFrame(rows).round(2).to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
