"""
A data set of your own
======================

Photos in a folder and a table of ratings: `load_csv` reads them, checks each file, and decodes
nothing yet.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from persona_affect import FaceAligner
from persona_affect.datasets import load_csv, make_affect_faces

# %%
# Write six rendered photos and a table, as you would have them. One file is damaged.
folder = Path(tempfile.mkdtemp())
faces = make_affect_faces(6, halves="emotion", random_state=0)
rows = []
for i, photo in enumerate(faces.data):
    Image.fromarray(photo).save(folder / f"{i}.png")
    rows.append(
        {"path": f"{i}.png", "group": f"person {i}", **faces.target[["arousal", "valence"]].iloc[i]}
    )
(folder / "5.png").write_bytes(b"no photo")
pd.DataFrame(rows).to_csv(folder / "ratings.csv", index=False)

# %%
# What cannot be used is left out and listed.
import warnings

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    data = load_csv(folder / "ratings.csv")
data.left_out

# %%
# Aligned faces with their labels.
clips = FaceAligner(min_face_size=20).fit_transform(list(data.data))
figure, axes = plt.subplots(1, len(clips), figsize=(9, 2.6))
for ax, clip, (_, label) in zip(axes, clips, data.target.iterrows(), strict=True):
    if len(clip):
        ax.imshow(clip[0])
    ax.set_title(f"arousal {label.arousal:.1f}\nvalence {label.valence:.1f}", fontsize=9)
    ax.axis("off")
plt.show()
