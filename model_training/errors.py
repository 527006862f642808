"""Everything that can go wrong while training, drawn along the data flow.

    TrainingError
      InvalidConfiguration         a recipe, data description or flag has an unknown key or a bad value
      AnnotationError              an annotation file says something that cannot be used; names file and line
        ImageChanged                 an image could be decoded when the data was loaded, and no longer can
      SplitError                   the rows cannot be split as asked
      TrainingDiverged             the cost is no longer a number
      CheckpointError              a checkpoint cannot be read or belongs to another configuration
      ThresholdUnreachable         no threshold has the precision or recall that was asked for
      ParityError                  the exported file does not do what the network does
      NotReproduced                a model that was made again is not the published one, as far as chance allows
      VariantError                 an int8 or float16 file cannot be made of the exported one

The command line prints the message of a TrainingError as one line and exits with code 1.
"""

from pathlib import Path


class TrainingError(Exception):
    """Base of all errors that training raises on purpose."""


class InvalidConfiguration(TrainingError):
    """A recipe, a data description or a flag has an unknown key or a bad value."""


class AnnotationError(TrainingError):
    """An annotation file says something that cannot be used.

    >>> str(AnnotationError(Path("labels.csv"), 7, "car is 'yes'; allowed are 0, 1 and empty"))
    "labels.csv:7: car is 'yes'; allowed are 0, 1 and empty"
    """

    def __init__(self, file: Path, line: int | None, message: str) -> None:
        self.file, self.line, self.message = file, line, message
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class ImageChanged(AnnotationError):
    """An image that could be decoded while the table was loaded no longer can.

    A DataLoader raises what a worker raised anew, from nothing but the text of its traceback: so one text is all that
    this error is made of, and of a traceback it keeps the last line, which is its own message.
    """

    def __init__(self, said: str) -> None:
        last = said.rstrip().rpartition("\n")[2].removeprefix(f"{__name__}.{type(self).__name__}: ")
        file, _, message = last.partition(": ")
        super().__init__(Path(file), None, message)


class SplitError(TrainingError):
    """The rows cannot be split as asked."""


class TrainingDiverged(TrainingError):
    """The cost is no longer a number."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read or belongs to another configuration."""


class ParityError(TrainingError):
    """The exported file does not do what the network does."""


class NotReproduced(TrainingError):
    """A model that was made again learned from other data, or is better or worse than chance explains."""


class ThresholdUnreachable(TrainingError):
    """No threshold has the precision or recall that was asked for."""


class VariantError(TrainingError):
    """An int8 or float16 file cannot be made of the exported one."""
