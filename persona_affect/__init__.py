"""Apparent personality and emotion from faces, jointly, as scikit-learn estimators.

Predictions are *apparent* traits: impressions that faces make on raters, not what people are.
"""

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
