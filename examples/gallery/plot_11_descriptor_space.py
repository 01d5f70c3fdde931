"""
People by the way they move
===========================

Each clip becomes a descriptor: the change of filters that learned one person. Clips of a person
are near each other.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from persona_affect import load_model
from persona_affect.datasets import make_dynamic_clips

# Four clips of each of four rendered persons, of two seconds.
clips = make_dynamic_clips(4, 4, n_frames=50, random_state=0)
descriptors = load_model("dynamics").transform(clips.data)
descriptors.shape

# %%
# Directions count, not lengths: so descriptors are standardised and normalised first. These persons
# also look different; with `same_look=True` they are harder to recognise, and need longer clips.
points = make_pipeline(StandardScaler(), Normalizer(), PCA(2)).fit_transform(descriptors)
figure, ax = plt.subplots()
for person in np.unique(clips.groups):
    own = points[np.asarray(clips.groups) == person]
    ax.plot(*own.T, "o", label=str(person))
ax.set(xlabel="component 1", ylabel="component 2", title="16 clips of four persons")
ax.legend(title="person", fontsize=8)
plt.show()
