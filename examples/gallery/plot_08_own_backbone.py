"""
A backbone of your own
======================

A network that is registered by a name works in estimators, in saved models and on the command line.
"""

import matplotlib.pyplot as plt
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
# What its first layer has learned to look for.
filters = model.net_.module_.fem.layers[0].weight.detach().numpy()
figure, axes = plt.subplots(2, 8, figsize=(8, 2.4))
for ax, kernel in zip(axes.flat, filters, strict=True):
    low, high = kernel.min(), kernel.max()
    ax.imshow(((kernel - low) / (high - low)).transpose(1, 2, 0))
    ax.axis("off")
figure.suptitle("Filters of the first layer")
plt.show()
