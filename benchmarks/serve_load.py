"""Load test of the web page's server: fifty clients at once, five hundred photos.

    python benchmarks/serve_load.py --clients 50 --requests 500

The server is `persona-affect serve` in a process of its own; it and the clients share the processor
cores of this machine. Every request uploads a rendered photo
of 480 x 480 pixels with one face, waits in the queue, and checks the answer. The bundled model is
used as `persona-affect serve` uses it by default; `--plain` is exactly `load_model()`. More options
of `serve` can be given after `--`.
"""

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

from persona_affect.datasets import make_affect_faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one answer")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("serve", nargs="*", help="options of `serve`, after --")
    options = parser.parse_args()

    plain = ["--detector", "mtcnn", "--engine", "torch", "--mirror"] if options.plain else []
    with TemporaryDirectory() as folder, serving([*plain, *options.serve]) as url:
        photos = write_photos(Path(folder))

        def start(_: int) -> Client:
            # Without TLS nothing is verified; else each request loads all certificates.
            return Client(url, verbose=False, download_files=False, ssl_verify=False)

        with ThreadPoolExecutor(options.clients) as pool:
            clients = list(pool.map(start, range(options.clients)))

            def ask(number: int) -> float:
                client, photo = clients[number % len(clients)], photos[number % len(photos)]
                begin = time.perf_counter()
                job = client.submit(handle_file(photo), api_name="/photo")
                rows, _ = job.result(timeout=options.timeout)
                if len(rows) != 1:
                    raise AssertionError(f"{len(rows)} faces in {photo}")
                return time.perf_counter() - begin

            begin = time.perf_counter()
            jobs = [pool.submit(ask, number) for number in range(options.requests)]
            failures = [job.exception() for job in jobs if job.exception() is not None]
            seconds = time.perf_counter() - begin
    taken = np.array([job.result() for job in jobs if job.exception() is None])
    print(f"{options.clients} clients, {options.requests} requests, {len(failures)} failed")
    print(f"{seconds:.1f} s in all, {len(taken) / seconds:.1f} a second")
    print("| percentile | latency (s) |\n|---|---|")
    for percentile in (50, 90, 95, 99, 100):
        print(f"| {percentile} | {np.percentile(taken, percentile):.2f} |")
    if failures:
        raise SystemExit(f"First failure: {failures[0]!r}")


@contextmanager
def serving(options: list[str]) -> Iterator[str]:
    """Start the server, and yield its address."""
    command = [sys.executable, "-m", "persona_affect", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[2]
        finally:
            server.terminate()


def write_photos(folder: Path) -> list[Path]:
    """Write ten photos: clients will upload the same ones at the same time."""
    photos = []
    for i, image in enumerate(make_affect_faces(5, image_size=480, random_state=0).data):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        photos.append(folder / f"{i}.jpg")
        photos[-1].write_bytes(file.getvalue())
    return photos


if __name__ == "__main__":
    main()
