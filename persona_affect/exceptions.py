"""What can go wrong, by name.

Every message says which sample (its index and its path or kind), what is wrong, and what to do.
"""

__all__ = [
    "DatasetFormatError",
    "EngineError",
    "EngineWarning",
    "FaceStoreError",
    "FewLabelsWarning",
    "InvalidImageError",
    "MediaLimitError",
    "MediaReadError",
    "MediaWarning",
    "MediaWriteError",
    "MissingDependencyError",
    "ModelFormatError",
    "ModelReadError",
    "NoFaceWarning",
    "OutputError",
    "OutputInUseError",
    "OutputPathError",
    "PersonaAffectError",
    "TrainingDivergedError",
    "UnsafePickleError",
    "WeightsError",
]


class PersonaAffectError(Exception):
    """Base of every error that this package raises by name."""


class MediaReadError(PersonaAffectError, OSError):
    """A photo or video that cannot be opened or decoded."""


class OutputError(PersonaAffectError, OSError):
    """A file that cannot be written: a full disk, a read-only folder, a file in use."""


class OutputPathError(OutputError, ValueError):
    """An output that is refused before any work: it is an input, a folder, or in no folder."""


class OutputInUseError(OutputError):
    """A file that another run is writing."""


class MediaWriteError(OutputError):
    """A video that cannot be written."""


class MediaLimitError(PersonaAffectError, ValueError):
    """A photo or video above a limit on its pixels, duration or bytes."""


class InvalidImageError(PersonaAffectError, ValueError):
    """An array that is not an RGB photo or clip, or an input of an unknown kind."""


class TrainingDivergedError(PersonaAffectError, ArithmeticError):
    """A loss that became infinite or NaN."""


class WeightsError(PersonaAffectError, OSError):
    """Network weights that are missing, damaged, or made for another network."""


class ModelFormatError(PersonaAffectError, ValueError):
    """A saved model that is damaged, altered, or of an unknown format."""


class ModelReadError(ModelFormatError, OSError):
    """A path that cannot be a model: a folder, a device, a file that may not be read."""


class DatasetFormatError(PersonaAffectError, ValueError):
    """A data set's folder or annotations that are not laid out as its authors publish them."""


class UnsafePickleError(DatasetFormatError):
    """A pickle that asks for more than plain labels; nothing in it was run."""


class FaceStoreError(PersonaAffectError, OSError):
    """A folder of aligned faces that cannot be used as one."""


class MissingDependencyError(PersonaAffectError, ImportError):
    """An optional package that is not installed; the message names the extra."""


class EngineError(PersonaAffectError, ValueError):
    """What an engine cannot do: a precision, a model, or a pickle of a compiled model."""


class EngineWarning(UserWarning):
    """Networks that an engine does not run, or runs with a larger difference than wanted."""


class MediaWarning(UserWarning):
    """A medium was read in part, or left out of a batch."""


class NoFaceWarning(UserWarning):
    """Samples without a face: their predictions are missing."""


class FewLabelsWarning(UserWarning):
    """Targets that nothing can be learnt about, and that are predicted by their mean label."""
