"""Requests of a client to the service web, while something happens."""

import http.client
import threading
from types import TracebackType
from typing import Self

from tests.live.mesh import HTTP
from tests.support.live import Workload


class Load:
    """Requests all the time, over new connections and over one that is kept, while entered. `failed`: what was no 200. `pause`: seconds
    between two of them; where something takes long, longer ones leave the machine to it."""

    def __init__(self, client: Workload, pause: float = 0.005) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._client = client
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(kept,)) for kept in (True, False)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kept: bool) -> None:
        connection = self._connection()
        while not self._stop.wait(self._pause):
            try:
                connection.request("GET", "/", headers={"Host": f"web:{HTTP}"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.failed.append(f"{answer.status} {answer.headers}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                kept = False
            if not kept:
                connection.close()
                connection = self._connection()
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._client.outbound, HTTP, timeout=5)
