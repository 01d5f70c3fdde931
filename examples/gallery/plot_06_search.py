"""
Search for parameters
=====================

`GridSearchCV` works as for any estimator; folds keep a person on one side, and both kinds of label
in each.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

faces = make_affect_faces(80, aligned=True, random_state=0)
small = [
    cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces.data
]

search = GridSearchCV(
    JointAffectEstimator(max_epochs=2, random_state=0),
    {"learning_rate": [3e-4, 1e-3, 3e-3, 1e-2], "embedding_scale": ["each", "common"]},
    scoring=SCORERS["ccc"],
    cv=AffectGroupKFold(2),
)
search.fit(np.array(small, np.float32), faces.target, groups=faces.groups)

# %%
# CCC of persons whom a model did not see: the mean of the folds, and their standard deviation.
results = pd.DataFrame(search.cv_results_)
figure, ax = plt.subplots()
for scale, rows in results.groupby("param_embedding_scale"):
    rates, means = rows["param_learning_rate"].astype(float), rows["mean_test_score"]
    ax.errorbar(rates, means, rows["std_test_score"], marker="o", capsize=3, label=scale)
ax.set(
    xscale="log", xlabel="learning_rate", ylabel="mean CCC", title="Eight models, two folds each"
)
ax.legend(title="embedding_scale")
plt.show()
