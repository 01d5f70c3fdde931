"""
Impressions of a photo
======================

The model that comes with the package predicts how raters would see a face, from 0 to 100, with 90 %
intervals.
"""

from skimage import data

from persona_affect import load_model
from persona_affect.inspection import TraitDisplay

model = load_model(intervals=True)
photo = data.astronaut()

# %%
# A prediction, and the ends of its interval, for each of seven impressions.
model.predict_table([photo], alpha=0.1).round(1).T

# %%
# The bars are predictions; the lines are the intervals.
display = TraitDisplay.from_predictions(
    model.predict([photo]),
    target_names=model.target_names_,
    intervals=model.predict_interval([photo], alpha=0.1),
)
display.ax_.set_title("Seven impressions of a photo, with 90 % intervals")
display
