"""Methods of a fitted dynamics encoder; its parameters and training are in `_dynamics`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from persona_affect._device import network_on, resolve_device
from persona_affect._progress import tqdm
from persona_affect.faces import split_pieces
from persona_affect.networks import DynamicsUNet

from ._dynamics_adaptation import Whitening, adapt
from ._dynamics_regions import map_projection
from ._dynamics_samples import check_lags, prepare_clip, read_persons
from ._dynamics_session import DynamicsSession, SessionSettings
from ._dynamics_windows import Windows, choose_centres, compute_maps, measure_ranking


class DynamicsTransform(TransformerMixin, BaseEstimator):
    """Methods of :class:`PersonDynamicsEncoder` that only read its parameters and fitted state."""

    image_size: tuple[int, int]
    filter_levels: Sequence[str]
    filter_lags: Sequence[int]
    n_steps: int
    step_size: float
    filter_margin: float
    n_windows: int | None
    batch_persons: int
    device: str
    verbose: int
    net_: DynamicsUNet
    whitening_: Whitening

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Adapt filters to every person, and return the change of their weights.

        Parameters
        ----------
        X : array-like of n_samples persons
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            A sample without a face is a row of NaN.

        Raises
        ------
        InvalidImageError
            As in `fit`.
        ValueError
            If `filter_lags` does not fit the other parameters.

        Warns
        -----
        NoFaceWarning
            If samples have no face; the message names them.
        """
        check_is_fitted(self)
        lags = self._check_lags()
        outcome = "described by missing values (NaN)"
        persons = read_persons(X, self.net_, self.image_size, outcome)
        device = resolve_device(self.device)
        net = network_on(self.net_, device)
        descriptors = np.full((len(persons), len(self.get_feature_names_out())), np.nan, np.float32)
        seen = [i for i, clips in enumerate(persons) if clips]
        starts = range(0, len(seen), self.batch_persons)
        for start in tqdm(starts, desc="Adapting", unit="batch", disable=not self.verbose):
            batch = seen[start : start + self.batch_persons]
            clips = [[prepare_clip(c, self.image_size) for c in persons[i]] for i in batch]
            change = adapt(
                net,
                Windows.choose(net, clips, self.n_windows, device),
                self.whitening_,
                list(self.filter_levels),
                n_steps=self.n_steps,
                learning_rate=self.step_size,
                margin=self.filter_margin,
                lags=lags,
            )
            descriptors[batch] = change.cpu().numpy()
        return descriptors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the filter weights: scale, level, output and input channel, and the lag if not 0.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_features,), object
            Such as ``"scale4_encoder2_out0_in15"`` and ``"scale4_encoder2_out0_in15_lag-4"``.
        """
        check_is_fitted(self)
        names = [
            f"scale{scale}_{level}_out{o}_in{i}" + (f"_lag{lag}" if lag else "")
            for lag in self.filter_lags
            for scale in self.net_.scales
            for level in self.filter_levels
            for o in range(self.net_.level_widths[level])
            for i in range(self.net_.level_widths[level])
        ]
        return np.array(names, dtype=object)

    def ranking_accuracy(self, X: Any, exclude: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Measure how well the generic network finds the order of pairs of frames.

        Parameters
        ----------
        X : array-like of n_samples persons
            As in `fit`.
        exclude : sequence of int, default=None
            Frames of a window that are not counted, relative to its centre: ``(-1, 0, 1)``.
            None for the network's own input at each scale.

        Returns
        -------
        ndarray of shape (n_samples, n_scales)
            Fraction of the pairs in the right order; 0.5 is chance. NaN for a scale with fewer than
            two counted frames, and for a sample without a face.

        Raises
        ------
        InvalidImageError
            If a sample is not a face clip, or one is too short or too small.
        """
        check_is_fitted(self)
        persons = read_persons(X, self.net_, self.image_size, "scored as missing (NaN)")
        accuracy = np.full((len(persons), len(self.net_.scales)), np.nan)
        for i, clips in enumerate(persons):
            if clips:
                prepared = [prepare_clip(clip, self.image_size) for clip in clips]
                accuracy[i] = measure_ranking(self.net_, prepared, exclude=exclude).mean(0)
        return accuracy

    def session(self, piece: int = 300) -> DynamicsSession:
        """Start to describe one person from a stream, in memory that does not grow.

        Parameters
        ----------
        piece : int, default=300
            Frames of the pieces that count as clips: each has its own mean face, and windows do not
            cross their borders. 300 are 12 seconds at 25 frames a second.

        Returns
        -------
        DynamicsSession

        Raises
        ------
        ValueError
            If `piece` is too short for the largest scale, or if ``n_steps`` is not 1: later steps
            need all windows at once.

        Examples
        --------
        >>> from persona_affect import PersonDynamicsEncoder
        >>> from persona_affect.datasets import make_dynamic_clips
        >>> clips = make_dynamic_clips(2, n_frames=20, random_state=0).data
        >>> encoder = PersonDynamicsEncoder(
        ...     scales=(1, 2), max_epochs=1, early_stopping=False, random_state=0
        ... ).fit(clips)
        >>> session = encoder.session()
        >>> for part in np.array_split(clips[0], 4):
        ...     session = session.add(part)
        >>> np.allclose(session.describe(), encoder.transform(clips[:1])[0], atol=1e-5)
        True
        """
        check_is_fitted(self)
        if self.n_steps != 1:
            raise ValueError(
                f"A session needs n_steps=1, not {self.n_steps}: later steps of the filters need "
                "all windows at once."
            )
        needed = 2 * self.net_.margin + 1
        if piece < needed:
            raise ValueError(
                f"piece={piece} is too short: scales={self.net_.scales} need {needed}."
            )
        settings = SessionSettings(
            image_size=(self.image_size[0], self.image_size[1]),
            filter_levels=tuple(self.filter_levels),
            filter_lags=self._check_lags(),
            filter_margin=float(self.filter_margin),
            step_size=float(self.step_size),
            n_windows=self.n_windows,
            piece=int(piece),
        )
        return DynamicsSession(self.net_, self.whitening_, settings, resolve_device(self.device))

    @torch.no_grad()
    def dynamic_maps(self, clip: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Compute the generic network's dynamic maps of a clip, for plots.

        Parameters
        ----------
        clip : ndarray of shape (T, H, W, 3), uint8
            A face clip.

        Returns
        -------
        maps : ndarray of shape (n_windows, n_scales, height, width, 3), float32
            Positive where values increase over time around the centre frame, negative where they
            decrease.
        centres : ndarray of shape (n_windows,), int
            The frame of each map.

        Raises
        ------
        InvalidImageError
            If it is not a face clip, or is too short or too small.
        """
        check_is_fitted(self)
        # Checked as any sample; the frames of pieces that are too short also count.
        read_persons([clip], self.net_, self.image_size, "without maps")
        maps = [np.empty((0, len(self.net_.scales), *self.image_size, 3), np.float32)]
        found = [np.empty(0, np.intp)]
        start = 0
        for piece in split_pieces(clip):
            if len(piece) > 2 * self.net_.margin:
                frames = prepare_clip(piece, self.image_size)
                centres = choose_centres(len(frames), self.net_.margin, self.n_windows)
                own = compute_maps(self.net_, [frames], [centres])
                maps.append(own.movedim(2, 4).numpy())
                found.append(start + centres.numpy())
            start += len(piece)
        return np.concatenate(maps), np.concatenate(found)

    def map_difference(self, person: Any, others: Any) -> NDArray[np.float32]:
        """Find which regions of the face, at which scales, set a person apart from others.

        The descriptor of one step is a sum over pixels and scales, so that its squared distance
        from the mean of others is shared among them exactly. The unit of a feature is its standard
        deviation over the others, or the mean of all deviations if that is larger.

        Parameters
        ----------
        person : a face clip, or a list of face clips
            As in `fit`.
        others : array-like of n_samples persons
            As in `fit`, at least two; for example those of the training.

        Returns
        -------
        ndarray of shape (n_scales, height, width), float32
            In the layout of aligned faces of `image_size`. The sum is the squared distance;
            negative where the person is nearer to the others than its descriptor as a whole.

        Raises
        ------
        ValueError
            If ``n_steps`` is not 1, if there are fewer than two others, or if someone has no face.
        """
        check_is_fitted(self)
        if self.n_steps != 1:
            raise ValueError(
                f"map_difference needs n_steps=1, not {self.n_steps}: only the descriptor of one "
                "step is a sum over pixels."
            )
        own, *rest = (
            [prepare_clip(clip, self.image_size) for clip in clips]
            for clips in read_persons([person, *others], self.net_, self.image_size, "not compared")
        )
        if len(rest) < 2 or not all([own, *rest]):
            raise ValueError(
                "map_difference needs a person and at least two others, all with a face."
            )
        levels, device = list(self.filter_levels), resolve_device(self.device)
        net = network_on(self.net_, device)
        windows = [Windows.choose(net, [clips], self.n_windows, device) for clips in [own, *rest]]
        settings: dict[str, Any] = {
            "learning_rate": self.step_size,
            "margin": self.filter_margin,
            "lags": self._check_lags(),
        }
        descriptors = np.vstack(
            [
                adapt(net, one, self.whitening_, levels, n_steps=1, **settings).cpu().numpy()
                for one in windows
            ]
        )
        mean, deviation = descriptors[1:].mean(0), descriptors[1:].std(0)
        # Features that are the same in all others would count without limit.
        direction = (descriptors[0] - mean) / np.maximum(deviation, deviation.mean()) ** 2
        maps = [
            map_projection(net, one, self.whitening_, levels, direction, **settings).numpy()
            for one in windows
        ]
        return np.asarray(maps[0] - np.mean(maps[1:], axis=0), np.float32)

    def _check_lags(self) -> tuple[int, ...]:
        return check_lags(self.filter_lags, self.n_steps, self.n_windows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags
