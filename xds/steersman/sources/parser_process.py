"""A process that parses big texts, so that the event loop doesn't: `python -m steersman.sources.parser_process`, started by Parser.

Frames on stdin and stdout: four bytes of length, then MessagePack. It ends when stdin does, thus never outlives who started it.
"""

import signal
import sys
from collections.abc import Iterator

import msgspec

from steersman.sources.texts import BrokenText, Entry, Format, entries

_FRAME = 128 << 10
"""About how many bytes an answer holds: small enough to be taken in without a pause."""


class Request(msgspec.Struct, array_like=True):
    """A text to be parsed, but for entries with these digests."""

    form: Format
    data: bytes
    known: list[bytes]


class Answer(msgspec.Struct, array_like=True):
    """Some entries of the text. The last answer is `done`, or says in `broken` at which line (from 0) the text can't be read, and why."""

    entries: list[Entry]
    done: bool = False
    broken: tuple[int, str] | None = None


def answers(request: Request) -> Iterator[Answer]:
    batch: list[Entry] = []
    size = 0
    try:
        for entry in entries(request.form, request.data, frozenset(request.known)):
            batch.append(entry)
            size += 64 + sum(len(found.body) for found in entry.found or ())
            if size > _FRAME:
                yield Answer(batch)
                batch, size = [], 0
    except BrokenText as error:
        yield Answer([], done=True, broken=(error.line, error.problem))
    else:
        yield Answer(batch, done=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of the terminal's processes; who started us closes stdin in time
    decode = msgspec.msgpack.Decoder(Request).decode
    encode = msgspec.msgpack.Encoder().encode
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(header := stdin.read(4)) == 4:
        for answer in answers(decode(stdin.read(int.from_bytes(header)))):
            frame = encode(answer)
            stdout.write(len(frame).to_bytes(4) + frame)
            stdout.flush()


if __name__ == "__main__":
    main()
