"""The exception tree, by blame: whose fault it is decides how far the damage may reach.

ConfigError stops the program before it serves; SourceError costs one source, which is retried; InvalidObject costs one
object; ProtocolError costs one stream. Anything else that is raised is our own bug.
"""


class SteersmanError(Exception):
    """Anything that Steersman raises on purpose; its text is fit to be shown to a user."""


class ConfigError(SteersmanError):
    """The operator's configuration is wrong. Says file, path inside it, the value found and what was expected."""

    def __init__(self, file: str, path: str, value: object, expected: str) -> None:
        self.file = file
        self.path = path
        self.value = value
        self.expected = expected
        at = f"{file}: {path}" if path else file
        super().__init__(f"{at}: got {value!r}, expected {expected}")


class SourceError(SteersmanError):
    """One source (a cluster's directory or API, the CA's directory, DNS) failed as a whole; it is retried, the others go on."""


class InvalidObject(SteersmanError):
    """One object can't be used. Reported with its place and treated as absent; never fatal."""


class ProtocolError(SteersmanError):
    """A peer broke the protocol or a limit; closes that stream with a gRPC status and nothing else.

    `code` is the name of a gRPC status, such as "INVALID_ARGUMENT".
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
