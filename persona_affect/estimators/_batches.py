"""Training batches: two domains, mixed with a fixed ratio."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from persona_affect._mapping import release

from ._clips import centre_frames, random_frames
from ._ranks import own_part

#: Samples of a batch, with the chosen frames of each.
Plan: TypeAlias = list[tuple[int, NDArray[np.intp]]]


@dataclass
class BatchFrames:
    """The frames of a batch that this process computes; its length is that of the whole batch.

    Attributes
    ----------
    frames : torch.Tensor of shape (n_own, ...)
        All frames of the batch, or those of this rank; see `_ranks`.
    clip : torch.Tensor of shape (n_frames,), int64
        For each frame of the whole batch, the position of its sample in the batch.
    """

    frames: Tensor
    clip: Tensor

    def __len__(self) -> int:
        return len(self.clip)


Batch: TypeAlias = tuple[BatchFrames, dict[str, Tensor]]


@dataclass
class LabelledClips(Dataset[Batch]):
    """Face clips with labels of both kinds; a `Plan` as index gives one batch.

    Attributes
    ----------
    clips : sequence of ndarray of shape (T, ...)
        Frames, or one embedding as a single frame.
    labels : dict of str to ndarray
        ``personality`` (n, p), ``emotion`` (n, e), ``weight`` (n,), ``domain`` (n,); scaled.
    n_segments : int
        Segments per clip.
    """

    clips: Sequence[NDArray[Any]]
    labels: dict[str, NDArray[Any]]
    n_segments: int

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, plan: Plan) -> Batch:
        own = [self.clips[sample][picked] for sample, picked in own_part(plan)]
        frames = np.concatenate(own or [self.clips[plan[0][0]][:0]])
        release(self.clips[sample] for sample, _ in own_part(plan))
        clip = torch.from_numpy(
            np.repeat(np.arange(len(plan)), [len(picked) for _, picked in plan])
        )
        samples = [sample for sample, _ in plan]
        labels = {name: torch.from_numpy(values[samples]) for name, values in self.labels.items()}
        return BatchFrames(torch.from_numpy(frames), clip), {**labels, "clip": clip}

    def subset(self, samples: NDArray[np.intp]) -> "LabelledClips":
        """Return some of the samples."""
        labels = {name: values[samples] for name, values in self.labels.items()}
        return LabelledClips([self.clips[i] for i in samples], labels, self.n_segments)

    def centres(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> DataLoader[Batch]:
        """Load every sample once, in order, at the centre frames of its segments."""
        picked = [(i, centre_frames(len(c), self.n_segments)) for i, c in enumerate(self.clips)]
        plans = [picked[i : i + batch_size] for i in range(0, len(picked), batch_size)]
        # A loader draws a number even where nothing is random.
        return DataLoader(self, sampler=plans, batch_size=None, generator=generator)


class MixedBatches(Sampler[Plan]):
    """Plans batches that mix the two domains with a fixed ratio, for any sizes of the domains.

    An epoch uses every sample of the longer domain once; the shorter one is shuffled and repeated
    as often as needed. A sample rated on both kinds counts as part of the personality set.

    Parameters
    ----------
    dataset : LabelledClips
    batch_size : int
        Samples (clips) in a batch.
    personality_fraction : float
        Fraction of the personality set in a batch, in (0, 1).
    rng : numpy.random.RandomState
        Draws the order and the frames.
    """

    def __init__(
        self,
        dataset: LabelledClips,
        batch_size: int,
        personality_fraction: float,
        rng: np.random.RandomState,
    ) -> None:
        self.dataset = dataset
        self.rng = rng
        emotion_only = dataset.labels["domain"] == 1
        pools = [np.flatnonzero(~emotion_only), np.flatnonzero(emotion_only)]
        n_personality = int(np.clip(round(batch_size * personality_fraction), 1, batch_size - 1))
        shares = [n_personality, batch_size - n_personality]
        # If a sample would be in a batch twice, the batch is made smaller instead.
        needed = max(len(pool) / share for pool, share in zip(pools, shares, strict=True))
        if needed < 1:
            shares = [max(1, round(share * needed)) for share in shares]
        if not all(map(len, pools)):
            pools, shares = [np.arange(len(dataset))], [batch_size]
        self.pools, self.shares = pools, shares
        self.n_batches = max(
            -(-len(pool) // share) for pool, share in zip(pools, shares, strict=True)
        )

    def __len__(self) -> int:
        return self.n_batches

    def _repeat(self, pool: NDArray[np.intp], n: int) -> NDArray[np.intp]:
        rounds = [self.rng.permutation(pool) for _ in range(-(-n // len(pool)))]
        return np.concatenate(rounds)[:n]

    def __iter__(self) -> Iterator[Plan]:
        if len(self.pools) == 1:
            dealt = np.array_split(self.rng.permutation(self.pools[0]), self.n_batches)
        else:
            streams = [
                self._repeat(pool, share * self.n_batches).reshape(self.n_batches, share)
                for pool, share in zip(self.pools, self.shares, strict=True)
            ]
            dealt = list(np.concatenate(streams, axis=1))
        clips, n_segments = self.dataset.clips, self.dataset.n_segments
        for samples in dealt:
            yield [(i, random_frames(len(clips[i]), n_segments, self.rng)) for i in samples]
