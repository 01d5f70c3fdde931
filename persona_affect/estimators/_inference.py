"""Running a trained network over face clips."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persona_affect._mapping import FrameReader
from persona_affect._progress import tqdm
from persona_affect._sklearn import is_followed_by
from persona_affect._warnings import warn_user
from persona_affect.exceptions import NoFaceWarning

from ._clips import centre_frames

#: Frames that pass a network together. It limits the memory, and changes results by rounding only.
_FRAMES_PER_PASS = 128
#: Faces on a CPU: the maps of more do not fit into the caches; with 128, it takes twice the time.
_FACES_PER_CPU_PASS = 16


def pass_size(device: str, *, faces: bool = True) -> int:
    """Choose how many frames (faces or embeddings) pass a network together on a device."""
    return _FACES_PER_CPU_PASS if faces and device.startswith("cpu") else _FRAMES_PER_PASS


def run_frames(
    run: Callable[[torch.Tensor], torch.Tensor],
    clips: Sequence[NDArray[Any]],
    *,
    size: int,
    n_segments: int | None,
    verbose: bool,
) -> list[NDArray[np.float32]]:
    """Run a network on frames, a batch at a time.

    Parameters
    ----------
    run : callable
        Maps a batch of frames to a tensor (n_frames, d).
    clips : sequence of ndarray of shape (T, ...)
        Clips with any number of frames.
    size : int
        Frames in a batch.
    n_segments : int or None
        Use the centre frames of this many segments, or all frames.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray of shape (n_frames, d), float32
        One for each clip; n_frames is 0 for a clip without frames.
    """
    picked = [
        np.arange(len(clip)) if n_segments is None else centre_frames(len(clip), n_segments)
        for clip in clips
    ]
    if not picked:
        return []  # np.split would return one empty part
    clip_of = np.repeat(np.arange(len(clips)), [len(frames) for frames in picked])
    frame_of = np.concatenate(picked)
    reader = FrameReader(clips)
    parts = []
    starts = range(0, len(clip_of), size)
    with torch.inference_mode():
        for start in tqdm(starts, desc="Predicting", unit="batch", disable=not verbose):
            part = slice(start, start + size)
            batch = reader.read_rows(clip_of[part], frame_of[part])
            parts.append(run(torch.from_numpy(batch)).float().cpu().numpy())
    values = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
    return np.split(values, np.cumsum([len(frames) for frames in picked])[:-1])


def average_mirrors(
    embed: Callable[[torch.Tensor], torch.Tensor], frames: torch.Tensor, size: int | None = None
) -> torch.Tensor:
    """Run a network on faces and on their mirror images, and average.

    Parameters
    ----------
    embed : callable
        Maps (n, height, width, 3) to a tensor (n, d).
    frames : torch.Tensor of shape (n_frames, height, width, 3)
    size : int, optional
        How many images pass together. Default: all faces with all mirror images, which is faster
        than one after the other.

    Returns
    -------
    torch.Tensor of shape (n_frames, d)
    """
    both = torch.cat([frames, frames.flip(2)])
    parts = [both] if size is None else both.split(size)
    return torch.cat([embed(part) for part in parts]).unflatten(0, (2, -1)).mean(0)


def pool_frames(frames: Sequence[NDArray[np.float32]], width: int) -> NDArray[np.float64]:
    """Average the frames of each clip; clips without frames become NaN rows, with one warning.

    A step of a pipeline whose last step is an estimator of this package leaves the warning to it.

    Parameters
    ----------
    frames : sequence of ndarray of shape (n_frames, width)

    Returns
    -------
    ndarray of shape (n_clips, width), float64
    """
    pooled = np.full((len(frames), width), np.nan)
    for i, values in enumerate(frames):
        if len(values):
            pooled[i] = values.mean(0, dtype=np.float64)
    faceless = [i for i, values in enumerate(frames) if not len(values)]
    if faceless and not is_followed_by("persona_affect"):
        warn_user(f"{name_samples(faceless)} no face; predicted as missing (NaN).", NoFaceWarning)
    return pooled


def name_samples(samples: Sequence[int]) -> str:
    """Name samples, at most 20 of them: "Samples 3, 5 (2 in all) have"."""
    if len(samples) == 1:
        return f"Sample {samples[0]} has"
    shown = ", ".join(map(str, samples[:20])) + (", ..." if len(samples) > 20 else "")
    return f"Samples {shown} ({len(samples)} in all) have"
