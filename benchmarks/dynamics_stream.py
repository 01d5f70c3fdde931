"""Describe one person from a long stream: frames a second, memory, and the batch result.

    python benchmarks/dynamics_stream.py --hours 1
    python benchmarks/dynamics_stream.py --hours 0.1 --all-windows

The stream repeats rendered clips; each frame is added by itself, as a webcam gives it. Seconds are
those of the process, so that other work on the machine does not count.
"""

import argparse
import pickle
import resource
import time

import numpy as np
import torch

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--all-windows", action="store_true", help="n_windows=None")
    parser.add_argument("--piece", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = make_dynamic_clips(8, 1, n_frames=75, image_size=96, random_state=0).data
    encoder = PersonDynamicsEncoder(max_epochs=2, random_state=0, device="cpu").fit(clips)
    encoder.set_params(n_windows=None if options.all_windows else 32)
    faces = np.concatenate(list(clips))
    n_frames = round(options.hours * 3600 * 25)
    session = encoder.session(options.piece)
    print(f"{n_frames} frames at 25 a second")
    start, marks = time.process_time(), []
    for t in range(n_frames):
        session.add(faces[t % len(faces)][None])
        if (t + 1) % max(n_frames // 4, 1) == 0:
            marks.append((t + 1, len(pickle.dumps(session)) / 2**20, peak_mib()))
    seconds = time.process_time() - start
    for frames, session_mib, peak in marks:
        print(f"after {frames} frames: session {session_mib:.2f} MiB, peak {peak:.0f} MiB")
    print(f"{n_frames / seconds:.0f} frames a second of one thread")
    # The same pieces as clips, on the first two minutes.
    few = min(n_frames, 3000)
    stream = np.concatenate([faces] * -(-few // len(faces)))[:few]
    pieces = np.split(stream, range(options.piece, few, options.piece))
    expected = encoder.transform([pieces])[0]
    found = encoder.session(options.piece).add(stream).describe()
    print(
        f"largest difference from transform: {np.abs(found - expected).max():.1e}, "
        f"of values up to {np.abs(expected).max():.1f}"
    )


if __name__ == "__main__":
    main()
