"""
A clip over time
================

`FrameAnnotator` gives a row for each frame and face; the timeline shows them.
"""

from persona_affect import FrameAnnotator, load_model
from persona_affect.datasets import make_affect_clips
from persona_affect.inspection import AffectTimelineDisplay

# A rendered person, whose emotion changes during the clip.
clip = make_affect_clips(n_persons=2, n_frames=40, random_state=3).data[0]

# %%
# Each frame is predicted; `smooth` averages over about a fifth of a second.
annotator = FrameAnnotator(load_model(), smooth=0.2)
table = annotator.to_dataframe(clip)
table.head(3).round(2)

# %%
display = AffectTimelineDisplay.from_predictions(table, targets=["happy", "alert"])
display.ax_.set(ylabel="0 to 100, as rated", title="Two impressions of a face, frame by frame")
display
