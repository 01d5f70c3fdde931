"""
People by the way they move
===========================

Each clip becomes a descriptor: the change of filters that learned one person. Clips of a person
should be neighbours.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from persona_affect import load_model
from persona_affect.datasets import make_dynamic_clips

# Three clips of each of four rendered persons, who look the same and move differently.
clips = make_dynamic_clips(4, 3, n_frames=50, same_look=True, random_state=1)
descriptors = load_model("dynamics").transform(clips.data)
descriptors.shape

# %%
# The first two principal components; a line joins the clips of a person.
points = PCA(2).fit_transform(descriptors)
figure, ax = plt.subplots()
for person in np.unique(clips.groups):
    own = points[np.asarray(clips.groups) == person]
    ax.plot(*own.T, marker="o", label=str(person))
ax.set(xlabel="component 1", ylabel="component 2", title="12 clips of four persons")
ax.legend(title="person", fontsize=8)
plt.show()
