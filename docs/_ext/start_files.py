"""Make files as the start page names them, of rendered faces, so that its notebook runs as it is.

Leave this cell out to use your own.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from persona_affect.datasets import make_affect_clips, make_affect_faces
from persona_affect.media import VideoWriter

faces = make_affect_faces(10, halves="emotion", random_state=0).data
Path("people").mkdir(exist_ok=True)
Path("photos").mkdir(exist_ok=True)
for name, face in zip(["portrait", "people/ann", "people/bob"], faces, strict=False):
    Image.fromarray(face).save(f"{name}.jpg")

paths = [f"photos/{i:03}.jpg" for i in range(len(faces))]
for path, face in zip(paths, faces, strict=True):
    Image.fromarray(face).save(path)
warm, happy = np.random.default_rng(0).uniform(1, 7, (2, len(faces)))
table = {"path": paths, "group": range(len(faces)), "warm": warm, "happy": happy}
pd.DataFrame(table).to_csv("ratings.csv", index=False)

clip = make_affect_clips(n_persons=2, n_frames=9, random_state=0).data[0]
with VideoWriter("clip.mp4", rate=25, size=clip.shape[2:0:-1]) as writer:
    for frame in clip:
        writer.write(frame)
