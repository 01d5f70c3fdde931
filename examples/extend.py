"""Add a backbone, a term of the loss with a head, a data set and a face detector, from outside.

    python examples/extend.py

Your own package would contain the lines between "begin" and "end" of each part. When it is
imported, the names of the parts work everywhere: in estimators, in saved models and on the command
line (``persona-affect --import extend train photos --backbone small_grey``). This script registers
the parts, trains a model on rendered photos, saves it, and loads it in a fresh process, which must
predict the same. docs/extending.md explains each part.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn
from torch.nn import functional

from persona_affect import FaceAligner, JointAffectEstimator, save_model
from persona_affect.datasets import (
    DatasetFormat,
    load_dataset,
    make_affect_faces,
    make_bunch,
    register_format,
)
from persona_affect.faces import TEMPLATES, Detections, DetectorSpec, register_detector
from persona_affect.networks import Backbone, BackboneSpec, get_backbone_spec, register_backbone
from persona_affect.objectives import LossTerm, TermInputs, register_term

# begin backbone


class SmallGrey(Backbone):
    """Grey values of 28 x 24 cells, and a linear layer that is trained.

    Parameters
    ----------
    width : int, default=32
        Number of features.
    """

    input_size, template = (112, 96), "sphereface"

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.n_features = width
        self.layer = nn.Linear(28 * 24, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed (n, 112, 96, 3) RGB frames of 0 to 255 as (n, width)."""
        cells = functional.avg_pool2d(frames.float().mean(dim=3), 4).flatten(1)
        return torch.relu(self.layer(functional.layer_norm(cells, cells.shape[1:])))


register_backbone(
    BackboneSpec(
        "small_grey",
        SmallGrey,
        template="sphereface",
        params=("width",),
        # The module to import. As a script, this file has the name "__main__".
        package="extend",
    )
)
# end backbone
# begin term


def smile_loss(inputs: TermInputs) -> Tensor | None:
    """Compute the cross entropy of the clips whose smile was labelled."""
    if inputs.output is None or inputs.labels is None:
        return None
    rated = ~inputs.labels.isnan().any(dim=1)
    return functional.binary_cross_entropy(inputs.pooled()[rated], inputs.labels[rated])


def build_smile_head(n_features: int, n_targets: int) -> nn.Module:
    """Build a head that gives the probability of a smile."""
    return nn.Sequential(nn.Linear(n_features, n_targets), nn.Sigmoid())


register_term(
    LossTerm(
        "smile",
        smile_loss,
        build_head=build_smile_head,
        labels="smile",
        targets=("smile",),
        standardize=False,  # the labels are 0 and 1 for the loss, too
        metric="pearson",
        package="extend",
    )
)
# end term
# begin data set


def load_rendered(root: str | Path, *, check: str = "open", verbose: bool = False):
    """Load a folder with photos and faces.csv: file, person, arousal, valence, smile."""
    table = pd.read_csv(Path(root) / "faces.csv")
    return make_bunch(
        name="rendered",
        sources=[str(Path(root) / name) for name in table["file"]],
        target=table[["arousal", "valence"]],
        emotion=["arousal", "valence"],
        groups=table["person"].astype(str),
        smile=table["smile"].to_numpy(),
    )


register_format(
    DatasetFormat(
        name="rendered",
        load=load_rendered,
        layout="photos, and faces.csv: file, person, arousal, valence, smile",
        recognise=lambda folder, folders, files: "faces.csv" in files,
    )
)
# end data set
# begin detector


def take_whole(images, *, min_face_size, thresholds, device):
    """Take each image for one face, which was cut out and aligned before."""
    template = TEMPLATES["sphereface"]
    found = []
    for image in images:
        height, width = image.shape[:2]
        box = np.array([[0, 0, width, height]], np.float32)
        points = template.points() * [width / template.width, height / template.height]
        landmarks = points[np.newaxis].astype(np.float32)
        found.append(Detections(box, scores=np.ones(1, np.float32), landmarks=landmarks))
    return found


register_detector(DetectorSpec("whole", take_whole, digest=lambda: "1", package="extend"))
# end detector


def write_photos(root: Path) -> None:
    """Render a photo of each of 110 persons, with their labels."""
    faces = make_affect_faces(110, halves="emotion", random_state=0)
    table = faces.truth[["arousal", "valence"]].assign(
        file=[f"{i}.png" for i in range(len(faces.data))],
        person=faces.groups,
        smile=(faces.truth["valence"] > 0).astype(int),
    )
    for name, photo in zip(table["file"], faces.data, strict=True):
        Image.fromarray(photo).save(root / name)
    table.to_csv(root / "faces.csv", index=False)


LOAD_AND_PREDICT = """
import sys
import numpy as np
import extend  # registers the parts
from persona_affect import load_model
np.save(sys.argv[3], load_model(sys.argv[1]).predict([sys.argv[2]]))
"""


def main() -> None:
    """Train with all three parts, save, and load in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (photos := root / "photos").mkdir()
        write_photos(photos)
        bunch = load_dataset(photos)  # recognised by its files
        print(f"{len(bunch.data)} photos of the format {bunch.name!r}")

        model = make_pipeline(
            FaceAligner(template=get_backbone_spec("small_grey").template),
            JointAffectEstimator(
                "small_grey",
                backbone_params={"width": 64},
                extra_lambdas={"smile": 1.0},
                augmentation="mirror",
                learning_rate=0.01,
                max_epochs=100,
                random_state=0,
            ),
        )
        y = bunch.target.assign(smile=bunch.smile)
        model.fit(bunch.data[:80], y[:80])
        predicted = pd.DataFrame(model.predict(bunch.data[80:]), columns=model[-1].target_names_)
        right = ((predicted["smile"] > 0.5) == (bunch.smile[80:] == 1)).mean()
        more = max(bunch.smile[80:].mean(), 1 - bunch.smile[80:].mean())
        print(f"30 other persons: smile or not right for {right:.0%}; always the same, {more:.0%}")
        print(f"Terms of the loss: {[c for c in model[-1].history_ if c.startswith('train_')]}")

        save_model(model, root / "model.safetensors")
        arguments = [root / "model.safetensors", bunch.data[0], root / "predicted.npy"]
        subprocess.run(
            [sys.executable, "-c", LOAD_AND_PREDICT, *map(str, arguments)],
            check=True,
            cwd=Path(__file__).parent,
        )
        again = np.load(root / "predicted.npy")
        np.testing.assert_allclose(again, model.predict([bunch.data[0]]), rtol=1e-5)
        print("A fresh process that imports the parts predicts the same.")

        cut = FaceAligner().transform(bunch.data[80:])
        model[0].set_params(detector="whole")
        again = model.predict([clip[0] for clip in cut])
        print(f"Faces cut out before: {np.nanmax(abs(again - predicted.to_numpy())):.1e} away")

        subprocess.run(
            [sys.executable, "-c", WITHOUT_THE_PARTS, str(root / "model.safetensors")], check=True
        )


WITHOUT_THE_PARTS = """
import sys
from persona_affect import load_model
from persona_affect.exceptions import MissingDependencyError
try:
    load_model(sys.argv[1])
except MissingDependencyError as error:
    print(f"One that does not: {error}")
else:
    sys.exit("loaded without the parts")
"""


if __name__ == "__main__":
    main()
