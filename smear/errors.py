"""The few errors a user can meet; each message names the file or key first and says what to do."""


class SmearError(Exception):
    """A mistake in the request or the input; commands print it as one line and exit 2."""


class ConfigError(SmearError):
    """A configuration file, flag or key is wrong."""


class ImageError(SmearError):
    """A file is not an image that we can, or are willing to, decode."""


class AnnotationError(SmearError):
    """A label file, data.yaml, crops table or manifest is wrong."""


class ModelError(SmearError):
    """A model bundle is missing, changed, unsafe or does not fit its card."""


class TrainingError(SmearError):
    """Training cannot go on; the checkpoints written so far are kept."""


class MissingExtra(SmearError):
    """An optional package is needed and not installed."""

    def __init__(self, wanted_by: str, package: str, extra: str) -> None:
        super().__init__(f"{wanted_by} needs the package {package!r}; install it with: pip install 'leukofield[{extra}]'")
