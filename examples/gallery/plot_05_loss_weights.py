"""
Weights of the loss
===================

The coherence term makes the features of the two sets alike: from them, nobody should be able to say
which set a face is from. How great must its weight be?
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces

# One half of the persons is rated on traits, the other half on emotion, and cameras differ.
faces = make_affect_faces(150, aligned=True, random_state=0)
small = [
    cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces.data
]
X = np.array(small, np.float32)

# %%
# Only the adapter can change these features; without it, coherence would have no effect.
histories = {}
for weight in (0.05, 1.0, 10.0):
    model = JointAffectEstimator(adapter_rank=8, lambda_coh=weight, max_epochs=12, random_state=0)
    histories[weight] = model.fit(X, faces.target).history_

# %%
# With the small weight, the domain head learns to say which set a face is from, and the loss grows.
# With the great one it stays where the head can only guess. Traits are learned as well as before.
figure, ax = plt.subplots()
for weight, history in histories.items():
    traits = history["train_per"].iloc[-1]
    ax.plot(history["epoch"], history["train_coh"], label=f"{weight}; trait loss {traits:.2f}")
ax.axhline(3 * np.log(2), color="grey", linestyle="--", label="the head can only guess")
ax.set(xlabel="epoch", ylabel="coherence loss", title="Three weights of coherence")
ax.legend(title="lambda_coh")
plt.show()
