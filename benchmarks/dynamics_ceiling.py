"""The best results that are possible on `make_dynamic_clips`, if the movement itself is known.

    python benchmarks/dynamics_ceiling.py

There are no pixels: the drive x(t) of the upper and the lower face is given. Two ceilings for
`benchmarks/dynamics.py`: how well the frames of a window can be ranked from the drive at three of
them, neighbours or further apart; and how well a person's styles can be predicted from 75 frames,
by statistics made for them and a regression that learns from 3,000 persons. Two minutes on one
core.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from persona_affect.datasets._dynamics import STYLE_NAMES, _draw_drive
from persona_affect.metrics import ccc_score
from persona_affect.objectives import rank_loss

N_FRAMES = 75
JITTER = 0.2


def draw(n_persons: int, rng: np.random.RandomState) -> tuple[NDArray, NDArray]:
    """Two clips a person: drives (2 n, frames, 2), and the persons' styles (2 n, 5)."""
    styles = rng.uniform(-1, 1, (n_persons, len(STYLE_NAMES))).repeat(2, axis=0)
    shown = styles + JITTER * rng.standard_normal(styles.shape)
    return np.stack([_draw_drive(style, N_FRAMES, rng) for style in shown]), styles


def windows(drives: NDArray, scale: int) -> Tensor:
    """All windows of 2 scale + 1 frames, (n, frames, 2)."""
    seen = np.lib.stride_tricks.sliding_window_view(drives, 2 * scale + 1, axis=1)
    return torch.from_numpy(seen.transpose(0, 1, 3, 2).astype(np.float32)).flatten(0, 1)


def ranking(train: Tensor, test: Tensor, scale: int, spacing: int) -> float:
    """Rank the frames of a window by a direction in the drive's plane, drawn from three frames.

    The three are `spacing` frames apart. Pairs with one of them do not count; those that do not
    differ count half.
    """
    net = nn.Sequential(
        nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)
    )
    seen = [scale - spacing, scale, scale + spacing]
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)

    def score(w: Tensor) -> Tensor:
        directions = net(w[:, seen].flatten(1))
        return ((w - w.mean(1, keepdim=True)) @ directions[..., None])[..., 0]

    for _ in range(1500):
        batch = train[torch.randint(len(train), (1024,))]
        spread = batch.std((1, 2), keepdim=False)[:, None] + 0.02
        loss = rank_loss(score(batch) / spread, 1.0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    away = [i for i in range(2 * scale + 1) if i not in seen]
    with torch.no_grad():
        scores = score(test)[:, away]
    first, second = torch.triu_indices(len(away), len(away), 1)
    difference = scores[:, second] - scores[:, first]
    still = difference.abs() <= 1e-6
    return ((difference > 1e-6).float() + still.float() / 2).mean().item()


def statistics(drive: NDArray) -> list[float]:
    """Numbers that say something of each style."""
    speed, (upper, lower) = np.diff(drive, axis=0), (drive - drive.mean(0)).T
    rise, fall = speed[speed[:, 0] > 1e-6, 0], -speed[speed[:, 0] < -1e-6, 0]
    quantiles = np.quantile(np.abs(speed), [0.25, 0.5, 0.75, 0.9, 1], axis=0)
    norm = upper.std() * lower.std() + 1e-6
    cross = [
        np.mean(upper[max(0, lag) : N_FRAMES + min(0, lag)] * lower[max(0, -lag) : N_FRAMES - lag])
        if lag >= 0
        else np.mean(upper[: N_FRAMES + lag] * lower[-lag:])
        for lag in range(-12, 13)
    ]
    own = [np.mean(upper[lag:] * upper[:-lag]) for lag in (1, 2, 4, 6, 8, 12, 16, 20)]
    return [
        *drive.std(0),
        *np.abs(drive).max(0),
        *quantiles.ravel(),
        np.mean(np.abs(speed) < 1e-6),
        rise.mean() if len(rise) else 0.0,
        fall.mean() if len(fall) else 0.0,
        len(rise) - len(fall),
        *(np.array(cross) / norm),
        float(np.argmax(cross)),
        *(np.array(own) / (upper.var() + 1e-6)),
        np.sum(np.diff(np.sign(speed[:, 0])) != 0),
    ]


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.RandomState(0)
    (train, styles), (test, true_styles) = draw(3000, rng), draw(300, rng)
    accuracy = {
        scale: {
            name: ranking(windows(train[::2], scale), windows(test, scale), scale, spacing)
            for name, spacing in {"1": 1, "scale / 2": scale // 2, "scale": scale}.items()
        }
        for scale in (2, 4, 8)
    }
    table = pd.DataFrame.from_dict(accuracy, orient="index").round(3)
    print("Ranking accuracy by scale and spacing\n", table.to_string(), "\n")

    known, unknown = (np.array([statistics(d) for d in drives]) for drives in (train, test))
    predicted = np.column_stack(
        [
            HistGradientBoostingRegressor(random_state=0).fit(known, style).predict(unknown)
            for style in styles.T
        ]
    )
    ccc = ccc_score(true_styles, predicted, multioutput="raw_values")
    print("CCC of styles, one clip\n", pd.Series(ccc, STYLE_NAMES).round(2).to_string(), "\n")
    z = (predicted - predicted.mean(0)) / predicted.std(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(len(z), 1)
    print("AUC, persons:", round(roc_auc_score(i // 2 == j // 2, (z @ z.T)[i, j]), 3))


if __name__ == "__main__":
    main()
