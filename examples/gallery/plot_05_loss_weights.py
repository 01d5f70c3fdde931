"""
Weights of the loss
===================

How much does the score of new persons depend on the weights of coherence and relationship?
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import cross_val_score

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

faces = make_affect_faces(60, aligned=True, random_state=0)
small = [
    cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces.data
]
X = np.array(small, np.float32)

# %%
# Only the adapter can change the features; without it, coherence would have no effect.
scores = {}
for weight in (0.0, 0.05, 1.0):
    model = JointAffectEstimator(adapter_rank=8, lambda_coh=weight, max_epochs=2, random_state=0)
    scores[weight] = cross_val_score(
        model, X, faces.target, groups=faces.groups, cv=AffectGroupKFold(2), scoring=SCORERS["ccc"]
    )

# %%
# Two folds by person for each weight; on these data the weight hardly matters.
figure, ax = plt.subplots()
ax.boxplot(list(scores.values()), tick_labels=[str(weight) for weight in scores])
ax.set(
    xlabel="weight of coherence", ylabel="mean CCC of new persons", title="One weight of the loss"
)
plt.show()
