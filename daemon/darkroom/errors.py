"""What can go wrong, whose fault it is, what the person should do, whether trying again helps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable words of `error.code` in an answer; docs/contract.md holds the same table."""

    # The request is wrong (state `refused`): the person changes it and drops it again.
    INCOMPLETE = "incomplete"  #: the file ends too early, is empty, or is full of NUL bytes
    NOT_JSON = "not_json"  #: the bytes are not JSON, and no further byte can make them right
    BAD_ENCODING = "bad_encoding"  #: the bytes are not UTF-8
    TOO_LARGE = "too_large"  #: more than 1 MiB
    TOO_DEEP = "too_deep"  #: nested deeper than 20 levels
    DUPLICATE_KEY = "duplicate_key"  #: a key appears twice in one object
    NOT_AN_OBJECT = "not_an_object"  #: JSON, but not one object
    UNKNOWN_KEY = "unknown_key"  #: a key that no request has
    MISSING_KEY = "missing_key"  #: `prompt` is not there
    BAD_VALUE = "bad_value"  #: a value of the wrong type or outside its bounds
    UNKNOWN_STYLE = "unknown_style"  #: not in the style book
    UNKNOWN_MODEL = "unknown_model"  #: not an alias of the configuration
    UNKNOWN_CONTROL = "unknown_control"  #: not a control of the configuration
    UNKNOWN_UPSCALER = "unknown_upscaler"  #: not an upscaler of the configuration
    UNKNOWN_SCHEDULER = "unknown_scheduler"  #: not a listed scheduler
    UNKNOWN_LORA = "unknown_lora"  #: not an alias of the configuration
    UNSUPPORTED_SIZE = "unsupported_size"  #: the model cannot draw this width or height
    UNSUPPORTED_KEY = "unsupported_key"  #: the model cannot do what this key asks for
    MISSING_FILE = "missing_file"  #: a file that it names does not come
    BAD_FILE = "bad_file"  #: a file that it names is not a whole picture of a kind that is read
    INVALID_REQUEST = "invalid_request"  #: several of the above at once; `problems` names each

    # The machine is at fault (state `failed`): `darkroom retry NAME` asks again.
    OUT_OF_MEMORY = "out_of_memory"  #: the device or the machine has too little memory for it
    RENDERER_DIED = "renderer_died"  #: the renderer crashed or was killed on every attempt
    STALLED = "stalled"  #: the renderer gave no sign of life for `stall_s` on every attempt
    BROKEN_PICTURE = "broken_picture"  #: the model returned NaN instead of a picture
    FILTERED = "filtered"  #: the model's safety checker flagged every picture
    RENDER_ERROR = "render_error"  #: the pipeline raised an error while rendering
    UNSUPPORTED = "unsupported"  #: a model that can never be rendered here, or not in the way that was asked
    PROMPT_TOO_LONG = "prompt_too_long"  #: the model cannot read all of it, and the request asked for no less
    MODEL_CHANGED = "model_changed"  #: the model is not what it was taken for when the request was accepted
    BAD_PICTURE = "bad_picture"  #: a file that the request names is no picture that can be painted from
    STATE_LOST = "state_lost"  #: the request's bytes are gone from the state folder


def in_words(error: Exception) -> str:
    """What happened, for a sentence: without the number and the file name that an OSError puts around it."""
    return str(getattr(error, "strerror", None) or error)


def with_place(error: Exception) -> str:
    """The same, with the file or folder that it came with in front: "/srv/x: Permission denied"."""
    place = getattr(error, "filename", None)
    place = place.decode(errors="backslashreplace") if isinstance(place, bytes) else place
    return f"{place}: {in_words(error)}" if isinstance(place, str) else in_words(error)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and what to do about it."""

    where: str  #: JSON pointer into the request ("/style"), a key path in a configuration, or a file name
    message: str  #: what is wrong
    hint: str = ""  #: what to do
    code: ErrorCode = ErrorCode.BAD_VALUE

    def __str__(self) -> str:
        """Read it aloud: where, what, what to do."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} {self.hint}".strip()


class DarkroomError(Exception):
    """Something that a person can be told; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint in one line."""
        return f"{self.message} {self.hint}".strip()


class ConfigUnusable(DarkroomError):
    """The configuration has problems; all of them are listed (exit status 3)."""

    def __init__(self, problems: tuple[Problem, ...], *, source: str = "the configuration") -> None:
        super().__init__(f"{source} has {len(problems)} problem{'s' if len(problems) != 1 else ''}")
        self.problems = problems


class RequestRefused(DarkroomError):
    """The request is wrong; every problem is listed and the person must change it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        codes = {problem.code for problem in problems}
        self.code = codes.pop() if len(codes) == 1 else ErrorCode.INVALID_REQUEST
        self.problems = problems
        count = len(problems)
        message = problems[0].message if count == 1 else f"The request has {count} problems."
        super().__init__(
            message, hint=problems[0].hint if count == 1 else "Correct all of them and drop the file again."
        )


class RenderFailed(DarkroomError):
    """The request was right, the machine was not."""

    def __init__(
        self, code: ErrorCode, message: str, *, hint: str = "", can_retry: bool = False, kind: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.can_retry = can_retry
        self.kind = kind  #: the name of what a library raised, if one did


class ModelUnavailable(DarkroomError):
    """A model cannot be loaded now: not the request's fault; the model is held and tried again."""


class NoRoomForModel(ModelUnavailable):
    """The device has too little memory for a model: another device may have enough."""


class DeviceGone(ModelUnavailable):
    """The device cannot be used: no model can be loaded there, whichever."""


class ModelUnsupported(ModelUnavailable):
    """A model can never be loaded as it is: trying again is of no use."""


class FolderUnusable(DarkroomError):
    """Inbox, outbox or state cannot be used, or somebody else is using it (exit status 3)."""
