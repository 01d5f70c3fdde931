"""
Do intervals hold what they promise?
====================================

An interval of 90 % should contain the rating of nine in ten new persons. Here new persons are
rendered, so that it can be counted.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from persona_affect import ConformalAffect
from persona_affect.datasets import make_affect_faces


def read(n_persons, seed):
    """Render persons: small pixels, and arousal and valence."""
    faces = make_affect_faces(n_persons, halves="emotion", aligned=True, random_state=seed)
    small = [
        cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255
        for face in faces.data
    ]
    return np.array(small), faces.target[["arousal", "valence"]], faces.groups


X, y, persons = read(300, 0)
X_new, y_new, _ = read(300, 1)
model = ConformalAffect(Ridge(1.0), random_state=0).fit(X, y, groups=persons)

# %%
# The share of ratings inside, for intervals of 50 % to 95 %.
asked = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
seen = []
for probability in asked:
    low, high = np.moveaxis(model.predict_interval(X_new, alpha=1 - probability), -1, 0)
    seen.append(((y_new >= low) & (y_new <= high)).to_numpy().mean())

# %%
figure, ax = plt.subplots()
ax.plot(asked, asked, color="grey", linestyle="--", label="as promised")
ax.plot(asked, seen, marker="o", label="new persons")
ax.set(xlabel="asked for", ylabel="ratings inside", title="Coverage of intervals")
ax.legend()
plt.show()
