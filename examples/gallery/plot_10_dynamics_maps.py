"""
What a face is about to do
==========================

The network of `PersonDynamicsEncoder` makes a map from a moment of a clip: where the face changes,
and in which direction. The network that comes with the package has learned this without labels.
"""

from persona_affect import load_model
from persona_affect.datasets import make_dynamic_clips
from persona_affect.inspection import DynamicsDisplay

encoder = load_model("dynamics")
clip = make_dynamic_clips(1, 1, n_frames=60, random_state=5).data[0]

# %%
# The share of pairs of frames that the maps put in the right order, at each scale; 0.5 is chance.
encoder.ranking_accuracy([clip]).round(2)

# %%
# A row for each scale, a column for each moment.
display = DynamicsDisplay.from_estimator(encoder, clip, n_moments=5)
display.ax_.set_title("Where a face changes: maps of four scales at five moments")
display
