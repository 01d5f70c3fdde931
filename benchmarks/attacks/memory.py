"""Follow the memory of the web page's server through many noisy photos, on this machine.

    python benchmarks/attacks/memory.py --photos 400 --clients 4

Starts `persona-affect serve` with the bundled model on 127.0.0.1 and asks for photos of noise (1000
x 1000 pixels, whose answers are the largest), each as a visitor who does not come back. Prints the
server's resident memory after every 25 photos, and how much it grew over the second half.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server import Server, photo, succeeded

EVERY = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(options.clients) as pool:
        server = Server(Path(home))
        server.predict(photo())
        curve, n_failed, start = [server.memory()], 0, time.perf_counter()
        print("| photos | MiB | s |\n|---|---|---|")
        print(f"| 0 | {curve[0]:.0f} | 0 |", flush=True)
        for done in range(EVERY, options.photos + 1, EVERY):
            said = pool.map(lambda _: server.predict(photo(1000, "JPEG", noise=True)), range(EVERY))
            n_failed += sum(not succeeded(text) for text in said)
            curve.append(server.memory())
            seconds = time.perf_counter() - start
            print(f"| {done} | {curve[-1]:.0f} | {seconds:.0f} |", flush=True)
        middle = curve[len(curve) // 2]
        print(
            f"\n{n_failed} failed. The second half: {curve[-1] - middle:+.0f} MiB, "
            f"at most {max(curve[len(curve) // 2 :]) - middle:+.0f}."
        )
        server.process.terminate()
        server.process.wait(60)


if __name__ == "__main__":
    main()
