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
faces = make_affect_faces(72, halves="emotion", random_state=0)
y = faces.target[["arousal", "valence"]]

# %%
# Everything but the heads, once for each photo.
features = load_model()[:-1].transform(faces.data)
features.shape

# %%
# Heads learn from 12, 24 and 48 faces, and predict the last 24.
sizes, scores = [12, 24, 48], []
for size in sizes:
    heads = JointAffectEstimator(
        personality=[], emotion=list(y), embedding_scale="common", max_epochs=3, random_state=0
    )
    heads.fit(features[:size], y[:size])
    scores.append(pearson_score(y[48:], heads.predict(features[48:]), multioutput="raw_values"))

# %%
figure, ax = plt.subplots()
ax.plot(sizes, np.array(scores), marker="o", label=list(y))
ax.set(
    xlabel="rated faces", ylabel="Pearson's r on 24 others", title="New heads on the bundled model"
)
ax.legend()
plt.show()
