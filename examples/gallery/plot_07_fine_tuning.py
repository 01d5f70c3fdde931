"""
Your own targets on the bundled model
=====================================

The networks of the bundled model stay as they are; new heads learn targets that it does not have.
How many faces are enough?
"""

import matplotlib.pyplot as plt
import numpy as np

from persona_affect import JointAffectEstimator, load_model
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import pearson_score

# Rendered faces, rated on arousal and valence, as photos that the aligner reads.
faces = make_affect_faces(112, halves="emotion", random_state=0)
y = faces.target[["arousal", "valence"]]

# %%
# Everything but the heads, once for each photo.
features = load_model()[:-1].transform(faces.data)
features.shape

# %%
# Heads learn from 6 to 48 faces, three random draws of each, and predict the last 64.
sizes, draws = [6, 12, 24, 48], 3
scores = np.empty((len(sizes), draws, 2))
rng = np.random.default_rng(0)
heads = JointAffectEstimator(
    personality=[], emotion=list(y), embedding_scale="common", max_epochs=10, random_state=0
)
for i, size in enumerate(sizes):
    for k in range(draws):
        own = rng.choice(48, size, replace=False)
        predicted = heads.fit(features[own], y.iloc[own]).predict(features[48:])
        scores[i, k] = pearson_score(y[48:], predicted, multioutput="raw_values")

# %%
figure, ax = plt.subplots()
for k, name in enumerate(y):
    ax.errorbar(
        sizes, scores[..., k].mean(1), scores[..., k].std(1), marker="o", capsize=3, label=name
    )
ax.set(
    xlabel="rated faces", ylabel="Pearson's r on 64 others", title="New heads on the bundled model"
)
ax.legend()
plt.show()
