"""Errors for users. A message names what was found, what was expected and what to do."""


class SfmRosError(Exception):
    """Base of all errors raised on purpose; programs print them without a traceback."""


class CalibrationError(SfmRosError):
    """A camera calibration is missing, empty, not finite or does not fit its image."""


class ImageError(SfmRosError):
    """An image or image message cannot be turned into an RGB image."""


class ModelError(SfmRosError):
    """A model bundle is missing, damaged, or of another format version."""


class EngineError(SfmRosError):
    """An inference engine cannot be created or failed while running."""


class SourceError(SfmRosError):
    """A folder, video, bag or data set cannot be read as a sequence of frames."""


class TrajectoryError(SfmRosError):
    """A trajectory file or a pair of trajectories cannot be used."""


class ConfigError(SfmRosError):
    """A configuration has an unknown key or a value out of range."""


class OutputError(SfmRosError):
    """An output folder holds files of others, is being written, or cannot be written."""


class UnsafeFileError(SfmRosError):
    """A file is larger, deeper or of another kind than is accepted from somebody else."""
