"""Metrics and scorers for apparent personality and emotion.

Published results report, for each target and over videos, the accuracy ``1 - mean |y - p|``, Lin's
concordance correlation coefficient (CCC) and Pearson's r, then the mean over the personality
targets and over the emotion targets [1]_. Do not read the accuracy alone: on ChaLearn First
Impressions a constant prediction reaches an accuracy of about 0.88, with a CCC and an r of 0.

All functions follow three rules.

**Missing labels** (NaN in ``y_true``) are ignored, target by target.

**Undefined targets**: CCC, r and R2 need two observed labels of positive weight, accuracy and RMSE
one. A target with fewer is NaN with ``multioutput="raw_values"``; an average leaves it out, with
an ``UndefinedMetricWarning``.

**Missing predictions** (NaN in ``y_pred`` where a label is observed, such as a photo without a
face) are treated as `nan_predictions` says:

- ``"raise"``: a ValueError. The default of the functions.
- ``"mean"``: replaced by the mean of the observed labels, as if the model knew nothing about the
  sample. All models are then compared on the same samples. The default of the scorers.
- ``"omit"``: such samples are left out. A model that predicts nothing for difficult samples then
  looks better than it is.

For ``"mean"`` and ``"omit"``, a `NoFaceWarning` says how many samples there were.

References
----------
.. [1] Zhang, Peng, Winkler. PersEmoN: A Deep Network for Joint Analysis of Apparent Personality,
   Emotion and Their Relationship. IEEE Transactions on Affective Computing, 2019.
"""

from ._report import affect_report
from ._scorers import SCORERS, AffectScorer, make_affect_scorer
from ._scores import (
    EMOTION_NAMES,
    PERSONALITY_NAMES,
    accuracy_score_mae,
    ccc_score,
    pearson_score,
    r2_score,
    root_mean_squared_error,
)

__all__ = [
    "EMOTION_NAMES",
    "PERSONALITY_NAMES",
    "SCORERS",
    "AffectScorer",
    "accuracy_score_mae",
    "affect_report",
    "ccc_score",
    "make_affect_scorer",
    "pearson_score",
    "r2_score",
    "root_mean_squared_error",
]
