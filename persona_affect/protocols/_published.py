"""Results that others have published, for comparison."""

from typing import Final

import pandas as pd

#: ChaLearn First Impressions V2, official test part, mean over the five traits. The first six are
#: from the DeepPersonality benchmark, which reproduced them.
PUBLISHED: Final = pd.DataFrame(
    [
        ("PersEmoN, as reproduced in the DeepPersonality benchmark", 0.8920, 0.2064),
        ("ResNet", 0.8873, 0.1406),
        ("CRNet", 0.8960, 0.3399),
        ("SENet", 0.9075, 0.5379),
        ("HRNet", 0.9113, 0.6148),
        ("VAT", 0.9118, 0.6298),
        ("SVFAP-B", 0.9175, 0.6645),
        ("OCEAN-AI, video only", 0.9152, None),
    ],
    columns=["model", "accuracy_mae", "ccc"],
)
