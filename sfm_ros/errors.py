"""The errors a user can meet. Each message says what was found, what was expected, what to do."""


class SfmRosError(Exception):
    """Base of every error raised on purpose; a program prints it without a traceback."""


class CalibrationError(SfmRosError):
    """A camera calibration is missing, empty, not finite or does not fit its image."""


class ImageError(SfmRosError):
    """An image or image message cannot be turned into an RGB image."""


class ModelError(SfmRosError):
    """A model bundle is missing, damaged, or follows another contract than this program."""


class EngineError(SfmRosError):
    """An inference engine cannot be built or failed while running."""


class SourceError(SfmRosError):
    """A folder, video, bag or data set cannot be read as a sequence of frames."""


class TrajectoryError(SfmRosError):
    """A trajectory file or a pair of trajectories cannot be used."""


class ConfigError(SfmRosError):
    """A configuration names an unknown key or holds a value out of its range."""
