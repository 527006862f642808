"""Everything that can go wrong while serving, drawn along the data flow.

    RoadcueError
      StartupError                 the process cannot start; one clear line, exit code 1
        ModelFileError               the model file cannot be read, or is not of our schema
        SelfTestFailed               it can, but does not reproduce the outputs it was exported with
        ProviderUnavailable          the execution provider that was asked for cannot run the model
        InvalidSettings              a setting is unknown or out of range
      RequestError                 nothing in this request can be answered
        MalformedMultipart           the multipart body does not follow RFC 7578
        NoFrames                     the request holds no frame
        RequestTooLarge              the body holds more bytes than allowed
        TooManyFrames                the request holds more frames than allowed
        UnsupportedContentType       the body is neither multipart/form-data nor an image type we read
        InvalidParameter             a query parameter or header has a value that is not allowed
      FrameError                   this frame cannot be answered; the others of its request are
        FrameTooLarge                more bytes than allowed
        TooManyPixels                more pixels than allowed, read from the header
        UnsupportedImage             not an image format we read
        DamagedImage                 our format, but it cannot be decoded
      ServiceError                 the request is fine, the service cannot take it
        QueueFull                    more frames wait than allowed
        NotReady                     the model is not loaded yet

The core raises these and knows no HTTP; `service.web.problems` maps each class to a status.
A message says what came, what is allowed and what to do.
"""


class RoadcueError(Exception):
    """Base of all errors that the service raises on purpose."""


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


class RequestError(RoadcueError):
    """Nothing in this request can be answered."""


class MalformedMultipart(RequestError):
    """The multipart body does not follow RFC 7578."""


class NoFrames(RequestError):
    """The request holds no frame."""


class RequestTooLarge(RequestError):
    """The body holds more bytes than allowed."""


class TooManyFrames(RequestError):
    """The request holds more frames than allowed."""


class UnsupportedContentType(RequestError):
    """The body is neither multipart/form-data nor an image type we read."""


class InvalidParameter(RequestError):
    """A query parameter or header has a value that is not allowed."""


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


class ServiceError(RoadcueError):
    """The request is fine, but the service cannot take it now."""


class QueueFull(ServiceError):
    """More frames wait than allowed."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not loaded yet."""
