"""Every error that Vitrine raises on purpose.

VitrineError
├── InvalidRequest          the caller must change the request          INVALID_ARGUMENT
├── NotFound                what was named does not exist               NOT_FOUND
├── Overloaded              shed; come back later                       RESOURCE_EXHAUSTED
├── Unauthenticated         no token, or none that is known             UNAUTHENTICATED
├── Forbidden               the token is not for this                   PERMISSION_DENIED
├── DependencyError         something behind us failed
│   ├── DependencyTimeout   it did not answer within its budget         DEADLINE_EXCEEDED
│   └── DependencyUnavailable   it cannot be reached or refused         UNAVAILABLE
├── ReleaseRejected         a release is unsigned, damaged or mixed     FAILED_PRECONDITION
├── RuleBookRejected        a rule book has faults; the one before stays
├── DataRejected            a data set cannot be loaded at all          (command line only)
└── SettingsRejected        a setting is unknown or unreadable          (start only)

Every class passes all its arguments to `super().__init__` positionally, because Ray pickles errors
and an exception with keyword-only arguments does not come back from that.
"""


class VitrineError(Exception):
    """Base of every deliberate error; catch it only at an edge."""


class InvalidRequest(VitrineError):
    """A field is wrong; `field` is its protobuf path, `reason` says what is allowed."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class NotFound(VitrineError):
    """The named thing (release, token, description) does not exist."""


class Overloaded(VitrineError):
    """Shed to protect the rest; retry after `retry_after_ms`. None: nobody can say when."""

    def __init__(self, reason: str, retry_after_ms: int | None) -> None:
        super().__init__(reason, retry_after_ms)
        self.reason = reason
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        when = "later" if self.retry_after_ms is None else f"after {self.retry_after_ms} ms"
        return f"{self.reason}; retry {when}"


class Unauthenticated(VitrineError):
    """Nobody knows who calls; the message never repeats what they sent."""


class Forbidden(VitrineError):
    """Who calls is known, and may not do this."""


class DependencyError(VitrineError):
    """A system behind us failed; `dependency` is its short name (`triton`, `price`, …)."""

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(dependency, reason)
        self.dependency = dependency
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.dependency}: {self.reason}"


class DependencyTimeout(DependencyError):
    """The dependency did not answer within its share of the deadline."""


class DependencyUnavailable(DependencyError):
    """The dependency cannot be reached, or answered something unusable."""


class ReleaseRejected(VitrineError):
    """A release is unsigned, damaged, incomplete, or mixed from two releases."""


class DataRejected(VitrineError):
    """A data set cannot be loaded at all (single bad rows are quarantined instead)."""


class SettingsRejected(VitrineError):
    """A setting is unknown or unreadable; names key, value and what is allowed."""


class RuleBookRejected(VitrineError):
    """A rule book cannot be used; `faults` says of each fault where it is and what mends it."""

    def __init__(self, file: str, faults: tuple[str, ...]) -> None:
        super().__init__(file, faults)
        self.file = file
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(f"{self.file}: {fault}" for fault in self.faults)
