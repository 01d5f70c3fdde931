"""
Joint training, term by term
============================

One `fit` takes faces rated on traits and faces rated on emotion. The history shows each term of the
loss.
"""

import matplotlib.pyplot as plt

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces

# Half of the persons have traits, the other half emotions: the rest of y is NaN.
faces = make_affect_faces(24, aligned=True, random_state=0)
faces.target.iloc[[0, -1]].round(2)

# %%
# The smallest network of the paper's family, on small batches.
model = JointAffectEstimator("sphereface4", max_epochs=3, batch_size=16, random_state=0)
model.fit(faces.data, faces.target)

# %%
# Personality (per), emotion (emo), coherence of the two sets (coh), personality from emotion (ram).
terms = model.history_.set_index("epoch").filter(regex="^train_")
ax = terms.plot(marker="o", logy=True)
ax.set(xticks=terms.index, ylabel="loss, log scale", title="Every term of the joint loss")
plt.show()
