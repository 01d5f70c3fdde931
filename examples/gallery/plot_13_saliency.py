"""
What a prediction depends on
============================

Integrated gradients: red pixels raise the prediction of *happy*, blue ones lower it. A map shows
what this model uses, not why raters say so.
"""

from skimage import data

from persona_affect import load_model
from persona_affect.inspection import SaliencyDisplay

SaliencyDisplay.from_estimator(load_model(), [data.astronaut()], "happy", n_steps=8)
