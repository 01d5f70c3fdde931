"""
For whom a model fails
======================

A model that learned from few faces of one group predicts that group worse. The audit shows errors
by group, with intervals.
"""

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

from persona_affect.datasets import make_affect_faces
from persona_affect.inspection import AuditDisplay

# Two groups of rendered persons: the second is seen by another camera, and only rarely in the
# training.
first = make_affect_faces(200, halves="emotion", domain_shift=0.0, aligned=True, random_state=0)
second = make_affect_faces(200, halves="emotion", domain_shift=2.0, aligned=True, random_state=1)
faces = np.concatenate([first.data, second.data])
X = np.array(
    [cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces]
)
y = pd.concat([bunch.target[["arousal", "valence"]] for bunch in (first, second)])
group = np.repeat(["often in training", "rarely in training"], 200)

train = np.r_[0:100, 200:210]
test = np.r_[100:200, 300:400]
model = Ridge(1.0).fit(X[train], y.iloc[train])

# %%
display = AuditDisplay.from_estimator(
    model,
    X[test],
    y.iloc[test],
    sensitive={"camera": group[test]},
    disturbances=[],
)
display.figure_.suptitle("Errors of two groups, with 95 % intervals")
display
