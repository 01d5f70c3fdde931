"""
Arousal and valence in a plane
==============================

A small model learns emotions of rendered faces, and shows those of new persons in the circumplex.
"""

import cv2
import numpy as np

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.inspection import CircumplexDisplay


def to_pixels(faces):
    """Turn aligned faces into rows of small pixels, which train in a second."""
    return np.array(
        [cv2.resize(face, (24, 28), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces]
    )


people = make_affect_faces(400, halves="emotion", aligned=True, random_state=0)
others = make_affect_faces(30, halves="emotion", aligned=True, random_state=1)
model = JointAffectEstimator(
    personality=[], emotion=["arousal", "valence"], max_epochs=5, random_state=0
)
model.fit(to_pixels(people.data), people.target[["arousal", "valence"]])

# %%
# Each point is the prediction for a person whom the model has not seen; a line leads to the rating.
predicted = model.predict(to_pixels(others.data))
display = CircumplexDisplay.from_predictions(predicted)
for (arousal, valence), rated in zip(predicted, others.target.to_numpy(), strict=True):
    display.ax_.plot([valence, rated[-1]], [arousal, rated[-2]], color="grey", linewidth=1)
display.ax_.set_title("Predictions, and lines to the ratings")
display
