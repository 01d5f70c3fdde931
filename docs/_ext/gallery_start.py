"""What each example of the gallery starts with."""

import os

import matplotlib.pyplot as plt


def reset_example(gallery_conf, fname):
    """Set what an example finds."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    plt.rcParams["figure.figsize"] = (6.4, 4.2)
    plt.rcParams["savefig.bbox"] = "tight"
