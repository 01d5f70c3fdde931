"""
Search for parameters
=====================

`GridSearchCV` works as for any estimator; folds keep a person on one side, and both kinds of label
in each.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

faces = make_affect_faces(80, aligned=True, random_state=0)
small = [
    cv2.resize(face, (12, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for face in faces.data
]

search = GridSearchCV(
    JointAffectEstimator(max_epochs=2, random_state=0),
    {"lambda_ram": [0.0, 0.2], "embedding_scale": ["each", "common"]},
    scoring=SCORERS["ccc"],
    cv=AffectGroupKFold(2),
)
search.fit(np.array(small, np.float32), faces.target, groups=faces.groups)

# %%
# The table of the search, as a picture: CCC of persons whom a model did not see.
results = pd.DataFrame(search.cv_results_)
table = results.pivot(
    index="param_lambda_ram", columns="param_embedding_scale", values="mean_test_score"
)
figure, ax = plt.subplots()
image = ax.imshow(table, aspect="auto")
ax.set_xticks(range(table.shape[1]), table.columns)
ax.set_yticks(range(table.shape[0]), table.index)
ax.set(xlabel="embedding_scale", ylabel="lambda_ram")
figure.colorbar(image, label="mean CCC")
plt.show()
