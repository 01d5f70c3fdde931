"""Interrupt detection at random moments, as Ctrl-C does, and count hangs and wrong results.

    python benchmarks/attacks/interrupts.py --interrupts 300

Prints how many interrupts there were, and how many results differed afterwards. A call that hangs
ends the program after a minute, with the place where each thread waits.
"""

from __future__ import annotations

import argparse
import faulthandler
import signal

import numpy as np
import torch

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    photos = make_affect_faces(4, random_state=args.seed).data
    aligner = FaceAligner()
    expected = aligner.transform(photos)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    interrupted = finished = differing = 0
    while interrupted < args.interrupts:
        faulthandler.dump_traceback_later(60, exit=True)
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 0.2))
            faces = aligner.transform(photos)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
            continue
        finished += 1
        differing += any(not np.array_equal(a, b) for a, b in zip(faces, expected, strict=True))
    faulthandler.dump_traceback_later(60, exit=True)
    faces = aligner.transform(photos)
    differing += any(not np.array_equal(a, b) for a, b in zip(faces, expected, strict=True))
    faulthandler.cancel_dump_traceback_later()
    print(f"{interrupted} interrupts, {finished + 1} calls that ended, {differing} that differed")
    raise SystemExit(differing > 0)


if __name__ == "__main__":
    main()
