"""What only a command can do wrong."""

from steersman.errors import SteersmanError


class WrongUse(SteersmanError):
    """The command was given something that can't be meant; exit code 2."""
