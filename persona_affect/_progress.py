"""The progress bar of everything that takes long.

In a notebook it is a widget where ipywidgets is installed. Elsewhere it is a line of text, as in a
terminal; on import, `tqdm` warns of that in a notebook, although the text is just as right.
"""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm as tqdm
