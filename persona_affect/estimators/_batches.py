"""Training batches: two domains, mixed with a fixed ratio."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from persona_affect._mapping import FrameReader, read_array
from persona_affect._ranks import n_ranks
from persona_affect._read_ahead import GROUP, ReadAhead, Rows, can_read_ahead

from ._clips import centre_frames, random_frames
from ._ranks import own_rows


@dataclass(frozen=True)
class Plan:
    """The samples of a batch, and the chosen frames of each.

    Attributes
    ----------
    samples, counts : ndarray of shape (n_samples,), int
        Each sample, and how many of its frames are in the batch.
    frames : ndarray of int
        The frames of one sample after those of the other.
    """

    samples: NDArray[np.intp]
    counts: NDArray[np.intp]
    frames: NDArray[np.intp]

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, NDArray[np.intp]]]) -> "Plan":
        """Make a plan of pairs: a sample and its frames."""
        samples = np.array([sample for sample, _ in pairs], np.intp)
        counts = np.array([len(frames) for _, frames in pairs], np.intp)
        return cls(samples, counts, np.concatenate([frames for _, frames in pairs]))

    def __len__(self) -> int:
        return len(self.samples)

    def positions(self) -> NDArray[np.intp]:
        """Return, for each frame, the position of its sample in the batch."""
        return np.repeat(np.arange(len(self.samples)), self.counts)


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
#: Batches that are planned together.
_PLANNED: Final = 16
#: Samples of a block, see `MixedBatches`: as many as batches that are read together, so that a
#: batch has one or two samples of a block.
_BLOCK: Final = GROUP


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

    @cached_property
    def reader(self) -> FrameReader:
        """Reads frames of the clips."""
        return FrameReader(self.clips)

    @cached_property
    def n_frames(self) -> NDArray[np.intp]:
        """Frames of each clip."""
        return np.array([len(clip) for clip in self.clips], np.intp)

    def __getitem__(self, plan: Plan) -> Batch:
        return self.label(plan, self.reader.read_rows(*self.rows(plan)))

    def rows(self, plan: Plan) -> Rows:
        """Return the clips and the frames of a batch that this process reads."""
        clip_of, frames = np.repeat(plan.samples, plan.counts), plan.frames
        if n_ranks() == 1:
            return clip_of, frames
        own = own_rows(torch.from_numpy(plan.positions())).numpy()
        return clip_of[own], frames[own]

    def label(self, plan: Plan, frames: NDArray[Any]) -> Batch:
        """Join the frames of a batch with the labels."""
        clip = torch.from_numpy(plan.positions())
        labels = {
            name: torch.from_numpy(values[plan.samples]) for name, values in self.labels.items()
        }
        return BatchFrames(torch.from_numpy(frames), clip), {**labels, "clip": clip}

    def subset(self, samples: NDArray[np.intp]) -> "LabelledClips":
        """Return some of the samples."""
        labels = {name: values[samples] for name, values in self.labels.items()}
        return LabelledClips([self.clips[i] for i in samples], labels, self.n_segments)

    def arrays(self) -> Iterator[NDArray[Any]]:
        """Yield the labels, then the frames of one clip after the other, for a checksum."""
        yield from self.labels.values()
        yield from map(read_array, self.clips)

    def load(
        self,
        plans: Sampler[Plan] | list[Plan],
        generator: torch.Generator | None = None,
        ahead: ReadAhead | None = None,
    ) -> "Feed":
        """Load batches as planned; see `Feed`."""
        return Feed(self, plans, generator, ahead)

    def centres(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        ahead: ReadAhead | None = None,
    ) -> "Feed":
        """Load every sample once, in order, at the centre frames of its segments."""
        picked = [(i, centre_frames(len(c), self.n_segments)) for i, c in enumerate(self.clips)]
        starts = range(0, len(picked), batch_size)
        plans = [Plan.of(picked[start : start + batch_size]) for start in starts]
        return self.load(plans, generator, ahead)


def start_workers(
    parts: Sequence[LabelledClips], n_workers: int, batch_size: int
) -> AbstractContextManager[ReadAhead | None]:
    """Start processes that read stored faces until the context ends.

    Parameters
    ----------
    parts : sequence of LabelledClips
        All data that they will read; clips of the same kind.
    n_workers : int
        With 0 there are none; so with any number where processes cannot be forked, and for arrays
        in memory.
    batch_size : int
        Samples in a batch.
    """
    readers = [data.reader for data in parts]
    if n_workers == 0 or not can_read_ahead() or not any(r.any_mapped for r in readers):
        return nullcontext()
    most_frames = max(min(data.n_segments, int(data.n_frames.max())) for data in parts)
    return ReadAhead(readers, n_workers, batch_size * most_frames)


class Feed:
    """Batches in the order of their plans, which other processes read while the network computes.

    Plans are made in this process, so that random numbers do not depend on the number of workers.

    Parameters
    ----------
    data : LabelledClips
    plans : Sampler or list
    generator : torch.Generator, optional
        Draws a number at the start, as torch's `DataLoader` does: the models of before, which was
        used, stay the same to the bit.
    ahead : ReadAhead, optional
        Processes that read stored faces; without them each batch is read when it is needed.
    """

    def __init__(
        self,
        data: LabelledClips,
        plans: Sampler[Plan] | list[Plan],
        generator: torch.Generator | None,
        ahead: ReadAhead | None,
    ) -> None:
        self.data = data
        self.plans = plans
        self.generator = generator
        self.ahead = ahead

    def __len__(self) -> int:
        return len(self.plans)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        data = self.data
        if self.generator is not None:
            torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        if self.ahead is None:
            yield from map(data.__getitem__, self.plans)
            return
        asked = ((plan, data.rows(plan)) for plan in self.plans)
        with closing(self.ahead.read(data.reader, asked)) as batches:
            for plan, frames in batches:
                yield data.label(plan, frames)


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
    shuffle : {"samples", "blocks"}, default="samples"
        ``"blocks"`` shuffles blocks of `_BLOCK` samples that follow each other in a set, then the
        samples inside windows of `GROUP` batches. Such a window is read at once, so that faces
        that lie beside each other are read in one call, and a batch has samples of many blocks.
    """

    def __init__(
        self,
        dataset: LabelledClips,
        batch_size: int,
        personality_fraction: float,
        rng: np.random.RandomState,
        shuffle: str = "samples",
    ) -> None:
        self.dataset = dataset
        self.rng = rng
        self.shuffle = shuffle
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

    def _draw(self, pool: NDArray[np.intp], n: int) -> NDArray[np.intp]:
        """Draw the samples of one domain, those of one batch after those of the other."""
        rounds = [self._permute(pool) for _ in range(-(-n // len(pool)))]
        drawn = np.concatenate(rounds)[:n]
        if self.shuffle == "samples":
            return drawn
        # Batches have the same number of samples; one more in the first if that is not possible.
        window = np.sort(np.arange(n) % self.n_batches) // GROUP
        of_round = np.arange(n) // len(pool)
        return drawn[np.lexsort((self.rng.uniform(size=n), of_round, window))]

    def _permute(self, pool: NDArray[np.intp]) -> NDArray[np.intp]:
        if self.shuffle == "samples":
            return self.rng.permutation(pool)
        # Blocks do not start at the same samples in each epoch.
        block = (np.arange(len(pool)) + self.rng.randint(_BLOCK)) // _BLOCK
        places = self.rng.permutation(block[-1] + 1)
        return pool[np.argsort(places[block], kind="stable")]

    def __iter__(self) -> Iterator[Plan]:
        if len(self.pools) == 1:
            pool = self.pools[0]
            dealt = np.array_split(self._draw(pool, len(pool)), self.n_batches)
        else:
            streams = [
                self._draw(pool, share * self.n_batches).reshape(self.n_batches, share)
                for pool, share in zip(self.pools, self.shares, strict=True)
            ]
            dealt = list(np.concatenate(streams, axis=1))
        n_frames = self.dataset.n_frames
        # Frames of many batches are drawn at once: the numbers are those of one call a batch.
        for start in range(0, len(dealt), _PLANNED):
            together = dealt[start : start + _PLANNED]
            counts, frames = random_frames(
                n_frames[np.concatenate(together)], self.dataset.n_segments, self.rng
            )
            of_batch = np.split(counts, np.cumsum([len(samples) for samples in together])[:-1])
            ends = np.cumsum([of_sample.sum() for of_sample in of_batch])
            drawn = np.split(frames, ends[:-1])
            yield from map(Plan, together, of_batch, drawn)
