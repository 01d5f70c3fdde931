"""
Traits over emotion
===================

The relationship module (RAM) of PersEmoN predicts traits from arousal and valence alone. The
picture shows its surface, beside a linear model.
"""

from sklearn.linear_model import LinearRegression

from persona_affect import RAMRegressor
from persona_affect.datasets import make_affect_faces
from persona_affect.inspection import RelationDisplay

# Rendered persons whose traits depend on emotion more than on the shape of the face.
faces = make_affect_faces(
    80, halves="personality", static_weight=0.3, noise_weight=0.3, random_state=0
)
display = RelationDisplay.from_data(
    faces.truth[["arousal", "valence"]],
    faces.target[["extraversion"]],
    groups=faces.groups,
    models={"RAM": RAMRegressor(max_epochs=30, random_state=0), "linear": LinearRegression()},
    cv=3,
)

# %%
# Scores by cross-validation: how much of a trait follows from emotion.
display.scores.round(2)
