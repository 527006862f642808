"""Everything that can go wrong while serving, drawn along the data flow.

    RoadcueError
      StartupError                 the process cannot start; one clear line, exit code 1
        ModelFileError               the model file cannot be read, or is not of our schema
        SelfTestFailed               it can, but does not reproduce the outputs it was exported with
        ProviderUnavailable          the execution provider that was asked for cannot run the model
        InvalidSettings              a setting is unknown or out of range
        AddressUnavailable           host and port cannot be listened on
        TuningFileUnusable           figures of execution plans cannot be read or written
        LabelFolderUnusable          uncertain frames are to be kept in a folder that cannot be used
        OutputUnusable               rows cannot be written where they are wanted (command line only)
        ServiceUnusable              the service that frames are sent to takes none (command line only)
      RequestError                 nothing in this request can be answered
        UnsupportedContentType       the body is neither multipart/form-data nor an image type we read
        UnsupportedContentEncoding   the body is compressed
        RequestTooLarge              the body holds more bytes than allowed
        MalformedMultipart           the multipart body does not follow RFC 7578
        UnexpectedField              a multipart field that is not a frame
        TooManyFrames                the request holds more frames than allowed
        NoFrames                     the request holds no frame
        UploadTimeout                the request did not arrive in time
        InvalidInferenceRequest      an Open Inference request that the protocol or the model does not allow
        UnknownModel                 its path names a model or version that does not serve
        InvalidParameter             a query parameter or header is unknown or has a value that is not allowed
      FrameError                   this frame cannot be answered; the others of its request are
        FrameTooLarge                more bytes than allowed
        TooManyPixels                more pixels than allowed, read from the header
        UnsupportedImage             not an image format we read
        DamagedImage                 our format, but it cannot be decoded
        UnreadableFile               a file on disk that cannot be opened (command line only)
        UnreadableVideo              a video that cannot be decoded, or not to its end (command line only)
      ServiceError                 the request is fine, the service cannot take it
        UploadsFull                  all requests together hold more bytes than allowed
        QueueFull                    more frames wait than allowed, or longer than the request's deadline allows
        DeadlineExceeded             the frame cannot be answered within the time that its request allows
        NotReady                     the model is not loaded yet
        Draining                     the process is about to end
      LabelFolderError             the folder of frames that wait for answers is not as it should be
        UncertainFramesLost          uncertain frames could not be kept (command line only)
        UnreadableLabelTable         its tables cannot be read
        LabelFolderBusy              another process does not let go of it
        UnlistedFrame                its tables do not have this frame or label
        AnsweredElsewhere            another answer stands there than the one that was shown

The core raises these and knows no HTTP; `service.web.problems` maps each class to a status.
A message says what came, what is allowed and what to do; `facts` repeats the figures for programs.
"""

from collections.abc import Sequence

Fact = str | int | float | Sequence[str]


class RoadcueError(Exception):
    """Base of all errors that the service raises on purpose.

    >>> FrameTooLarge("a.jpg holds 9 bytes; allowed are 8", limit_bytes=8).facts
    {'limit_bytes': 8}
    """

    def __init__(self, message: str, **facts: Fact) -> None:
        super().__init__(message)
        self.facts: dict[str, Fact] = facts


def forget_origin(error: BaseException) -> None:
    """Let an error that is told go of where it came from.

    Its tracebacks hold the frames that it passed, those hold what they worked on, an upload perhaps, and one of that
    may hold the error: such a ring waits for the garbage collector.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None


class StartupError(RoadcueError):
    """The process cannot start."""


class ModelFileError(StartupError):
    """The model file cannot be read, or is not of a schema this version knows."""


class SelfTestFailed(StartupError):
    """The model does not reproduce the outputs it was exported with."""


class ProviderUnavailable(StartupError):
    """The execution provider that was asked for cannot run the model."""


class InvalidSettings(StartupError):
    """A setting is unknown or out of range."""


class AddressUnavailable(StartupError):
    """The host and port cannot be listened on."""


class TuningFileUnusable(StartupError):
    """Figures of execution plans cannot be read or written, or are of a schema this version does not know."""


class LabelFolderUnusable(StartupError):
    """Uncertain frames are to be kept in a folder that cannot be used."""


class OutputUnusable(StartupError):
    """Rows cannot be written where they are wanted, or those that are there cannot be gone on with."""


class ServiceUnusable(StartupError):
    """The service that frames are sent to cannot be reached, or does not take them."""


class RequestError(RoadcueError):
    """Nothing in this request can be answered."""


class UnsupportedContentType(RequestError):
    """The body is neither multipart/form-data nor an image type we read."""


class UnsupportedContentEncoding(RequestError):
    """The body is compressed; images already are."""


class RequestTooLarge(RequestError):
    """The body holds more bytes than allowed."""


class MalformedMultipart(RequestError):
    """The multipart body does not follow RFC 7578."""


class UnexpectedField(RequestError):
    """The multipart body has a field that is not a frame."""


class TooManyFrames(RequestError):
    """The request holds more frames than allowed."""


class NoFrames(RequestError):
    """The request holds no frame."""


class UploadTimeout(RequestError):
    """The request did not arrive in time."""


class InvalidParameter(RequestError):
    """A query parameter or header is unknown or has a value that is not allowed."""


class InvalidInferenceRequest(RequestError):
    """A request of the Open Inference Protocol that the protocol or the model does not allow."""


class UnknownModel(RequestError):
    """The path of the request names a model or a version that does not serve."""


class FrameError(RoadcueError):
    """This frame cannot be answered; the others of its request are."""


class FrameTooLarge(FrameError):
    """The frame holds more bytes than allowed."""


class TooManyPixels(FrameError):
    """The frame's header announces more pixels than allowed."""


class UnsupportedImage(FrameError):
    """The bytes are not of an image format we read."""


class DamagedImage(FrameError):
    """The bytes are of a format we read, but cannot be decoded."""


class UnreadableFile(FrameError):
    """The file cannot be opened; only the command line reads files."""


class UnreadableVideo(FrameError):
    """The file is no video that can be decoded, or not to its end; only the command line reads videos."""


class ServiceError(RoadcueError):
    """The request is fine, but the service cannot take it now; `retry_after_s` says when to ask again."""

    def __init__(self, message: str, retry_after_s: float = 1.0, **facts: Fact) -> None:
        super().__init__(message, **facts)
        self.retry_after_s = retry_after_s


class UploadsFull(ServiceError):
    """All requests together hold more bytes of frames than allowed."""


class QueueFull(ServiceError):
    """More frames wait than allowed, or those that wait take longer than the request's deadline allows."""


class DeadlineExceeded(ServiceError):
    """The frame cannot be answered within the time that its request allows; it was dropped."""


class NotReady(ServiceError):
    """The model is not loaded yet."""


class Draining(ServiceError):
    """The process is about to end; it still serves, but wants no more traffic."""


class LabelFolderError(RoadcueError):
    """The folder of frames that wait for a person's answers is not as it should be."""


class UncertainFramesLost(LabelFolderError):
    """Some uncertain frames could not be kept: the disk is full, or the folder is gone."""


class UnreadableLabelTable(LabelFolderError):
    """A table of the folder cannot be read, or not be written with these labels."""


class LabelFolderBusy(LabelFolderError):
    """Another process does not let go of the folder's lock."""


class UnlistedFrame(LabelFolderError):
    """The tables do not have this frame or label, or the frame's image is not there."""


class AnsweredElsewhere(LabelFolderError):
    """Another answer stands there than the one that was shown to the person."""
