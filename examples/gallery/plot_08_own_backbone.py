"""
A backbone of your own
======================

A network that is registered by a name works in estimators, in saved models and on the command line.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.networks import BACKBONES, Backbone, BackboneSpec, register_backbone


class Edges(Backbone):
    """Two convolutions and a mean over the face."""

    input_size, n_features, template = (112, 96), 32, "sphereface"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip

    def forward(self, frames: Tensor) -> Tensor:
        """Embed (n, 112, 96, 3) RGB frames of 0 to 255 as (n, 32)."""
        return self.layers(frames.permute(0, 3, 1, 2).float() / 255)


# A name can be registered once in a process.
if "edges" not in BACKBONES:
    register_backbone(BackboneSpec("edges", Edges, template="sphereface", package="__main__"))

# %%
faces = make_affect_faces(120, aligned=True, random_state=0)
model = JointAffectEstimator("edges", max_epochs=8, batch_size=32, random_state=0)
model.fit(faces.data, faces.target)

# %%
# What the first layer sees in a face: bright where a filter answers.
layers = model.net_.module_.fem.layers
face = torch.tensor(faces.data[0]).permute(2, 0, 1)[None].float() / 255
with torch.no_grad():
    maps = layers[:2](face)[0].numpy()
figure, axes = plt.subplots(2, 5, figsize=(8, 4))
axes[0, 0].imshow(faces.data[0])
for ax, answer in zip(axes.flat[1:], maps[np.argsort(-maps.std((1, 2)))], strict=False):
    ax.imshow(answer, cmap="gray")
for ax in axes.flat:
    ax.axis("off")
figure.suptitle("A face, and the answers of nine filters")
plt.show()
