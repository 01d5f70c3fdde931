"""
The same numbers in another program
===================================

`export_onnx` writes a model as one file; ONNX Runtime, which other languages have too, gives the
same predictions.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
from skimage import data

from persona_affect import load_model
from persona_affect.datasets import make_affect_faces
from persona_affect.engines import export_onnx

path = tempfile.mkdtemp() + "/impressions.onnx"
export_onnx(None, path)  # None: the bundled model
session = onnxruntime.InferenceSession(path)

# %%
# Aligned faces: the portrait, and rendered faces of the same size.
model = load_model()
photos = [data.astronaut(), *make_affect_faces(7, random_state=0).data]
faces = np.concatenate(list(model[0].transform(photos)))

# %%
ours = model[1:].predict(faces[:, None])
theirs = session.run(None, {"faces": faces})[0]
print(f"largest difference: {np.abs(ours - theirs).max():.4f} of 100 points")

# %%
figure, ax = plt.subplots()
ax.plot([0, 100], [0, 100], color="grey", linestyle="--")
ax.scatter(ours, theirs)
ax.set(xlabel="predict", ylabel="ONNX Runtime", title="Impressions of eight faces")
plt.show()
