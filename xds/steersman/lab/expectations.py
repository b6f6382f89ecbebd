"""What a demonstration prints, and what it must have seen."""

import sys

_BOLD, _RED, _GREEN, _PLAIN = "\033[1m", "\033[31m", "\033[32m", "\033[0m"


class Expectations:
    """Prints each expectation as it is met or not, and keeps count."""

    def __init__(self) -> None:
        self.met = 0
        self.failed: list[str] = []

    def expect(self, text: str, holds: bool, instead: str = "") -> None:
        """`instead`: what was seen, told only if it does not hold."""
        if holds:
            self.met += 1
            print(f"  {_colored('ok', _GREEN)}      {text}", flush=True)
        else:
            said = f"{text}: {instead}" if instead else text
            self.failed.append(said)
            print(f"  {_colored('FAILED', _RED)}  {said}", flush=True)

    def verdict(self, seconds: float) -> int:
        """The last words, and the exit code."""
        if self.failed:
            heading(f"{len(self.failed)} of {self.met + len(self.failed)} expectations FAILED, in {seconds:.0f} s")
            for text in self.failed:
                indented(text)
            return 1
        heading(f"All {self.met} expectations were met, in {seconds:.0f} s")
        return 0


def heading(text: str) -> None:
    print(f"\n{_colored(text, _BOLD)}", flush=True)


def indented(text: str) -> None:
    print("\n".join(f"  {line}" for line in text.splitlines()), flush=True)


def _colored(text: str, color: str) -> str:
    return f"{color}{text}{_PLAIN}" if sys.stdout.isatty() else text
