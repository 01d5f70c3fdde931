"""Metrics and scorers for apparent personality and emotion.

Published results report, per target and over videos, the accuracy ``1 - mean |y - p|``, Lin's
concordance correlation coefficient (CCC) and Pearson's r, then the mean over the personality
targets and over the emotion targets [1]_. A constant prediction already reaches an accuracy of
about 0.88 on ChaLearn First Impressions, and CCC and r of 0: read the accuracy beside them.

Every function here follows the same three rules.

**Missing labels** (NaN in ``y_true``) are ignored, target by target.

**Undefined targets**: CCC, r and R2 need two observed labels of positive weight, accuracy and RMSE
one. A target with fewer is NaN in ``multioutput="raw_values"``; an average leaves it out and
says so in an ``UndefinedMetricWarning``.

**Missing predictions** (NaN in ``y_pred`` where a label is observed: a photo without a face, say)
are treated as `nan_predictions` says:

- ``"raise"``: a ValueError, the default of the functions;
- ``"mean"``: the mean of the observed labels stands in, that is, no answer counts as knowing
  nothing. All models are then compared on the same samples: the default of the scorers;
- ``"omit"``: such samples are left out. This flatters a model that declines the hard ones.

The last two count the samples in a `NoFaceWarning`.

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
