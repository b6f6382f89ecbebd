"""Parses texts in a process of its own. One text at a time; the process is started when first needed, and again when it died."""

import asyncio
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from steersman.errors import SourceError
from steersman.sources.parser_process import Answer, Request
from steersman.sources.texts import BrokenText, Entry, Format

_PIECE = 256 << 10


class ParserFailed(SourceError):
    """The process died over a text, or took too long."""


class Parser:
    """An asynchronous `entries`. Used by one task."""

    def __init__(self, timeout: float = 60.0) -> None:
        self._timeout = timeout
        self._process: asyncio.subprocess.Process | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Answer).decode

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stop()

    async def entries(self, form: Format, data: bytes, known: Collection[bytes]) -> list[Entry]:
        """As texts.entries. Raises BrokenText, and ParserFailed."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(Request(form, data, list(known)))
        except TimeoutError as error:
            await self._stop()
            raise ParserFailed(f"it takes more than {self._timeout:g} s") from error
        except (OSError, EOFError) as error:
            code = await self._stop()
            raise ParserFailed(f"the parser ended with {code}") from error
        except BaseException as error:
            if not isinstance(error, BrokenText):
                await self._stop()  # cancelled in mid-answer: what is left in the pipe would be taken for the next answer
            raise

    async def _ask(self, request: Request) -> list[Entry]:
        process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        frame = self._encode(request)
        process.stdin.write(len(frame).to_bytes(4))
        for start in range(0, len(frame), _PIECE):
            process.stdin.write(frame[start : start + _PIECE])
            await process.stdin.drain()
        found: list[Entry] = []
        while True:
            size = int.from_bytes(await process.stdout.readexactly(4))
            answer = self._decode(await process.stdout.readexactly(size))
            if answer.broken is not None:
                raise BrokenText(*answer.broken)
            found.extend(answer.entries)
            if answer.done:
                return found
            await asyncio.sleep(0)  # the next answer may be here already: reading it would not pause

    async def _start(self) -> asyncio.subprocess.Process:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "steersman.sources.parser_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self._process

    async def _stop(self) -> int | None:
        """The exit code, negative for a signal; None if there was no process."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(1):
                return await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            # An answer that was too much for the reader's buffer stopped its reading: until it is taken the end of the pipe isn't seen,
            # nor, with it, the end of the process.
            assert process.stdout is not None
            await process.stdout.read()
            return await process.wait()
