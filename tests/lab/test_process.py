"""The lab's children: none is mistaken for another, and none outlives the lab."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from steersman.lab.process import Process, ProcessID, process_id

PYTHON = sys.executable


def process(tmp_path: Path, *argv: str, seen: list[bool] | None = None) -> Process:
    told = seen if seen is not None else []
    return Process("child", argv, log=tmp_path / "child.log", env=dict(os.environ), changed=lambda child: told.append(child.running))


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within 10 s")


async def test_a_process_is_known_until_it_ends_and_what_it_said_is_kept(tmp_path: Path) -> None:
    seen: list[bool] = []
    child = process(tmp_path, PYTHON, "-c", "import sys; print('one'); print('two'); sys.exit(3)", seen=seen)

    await child.start()
    first = child.id
    await until(lambda: not child.running)

    assert first is not None
    assert not first.alive()
    assert (child.returncode, child.stopped, seen) == (3, False, [True, False])
    assert child.said() == "one\ntwo"
    assert child.said(1) == "two"


async def test_a_process_is_asked_to_end_and_killed_if_it_does_not(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    child = process(tmp_path, PYTHON, "-c", deaf)
    await child.start()
    await until(lambda: "deaf" in child.said())

    await child.stop(grace=0.2)

    assert (child.running, child.returncode, child.stopped) == (False, -signal.SIGKILL, True)
    await child.start()
    assert child.running
    await child.stop(grace=0)


async def test_ctrl_c_in_a_terminal_does_not_reach_it(tmp_path: Path) -> None:
    child = process(tmp_path, PYTHON, "-c", "import time; time.sleep(60)")
    await child.start()
    assert child.id is not None

    assert os.getpgid(child.id.pid) == child.id.pid

    await child.stop()


def test_a_number_that_belongs_to_another_process_by_now_is_not_taken_for_the_old_one() -> None:
    mine = process_id(os.getpid())
    earlier = ProcessID(mine.pid, mine.started - 1)

    assert mine.alive()
    assert not earlier.alive()
    earlier.send(signal.SIGKILL)  # would end this test run if it were sent


def test_a_process_that_ended_and_was_not_asked_for_is_not_alive() -> None:
    with subprocess.Popen([PYTHON, "-c", ""]) as child:
        found = process_id(child.pid)
        for _ in range(500):
            if not found.alive():
                break
            time.sleep(0.01)
        assert not found.alive()


def test_a_child_dies_with_a_lab_that_is_killed_outright(tmp_path: Path) -> None:
    script = f"""
import asyncio, os
from pathlib import Path
from steersman.lab.process import Process

async def main():
    child = Process("child", ["sleep", "60"], log=Path({str(tmp_path)!r}) / "log", env=dict(os.environ), changed=lambda _: None)
    await child.start()
    print(child.id.pid, child.id.started, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen([PYTHON, "-c", script], stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        pid, started = map(int, lab.stdout.readline().split())
        child = ProcessID(pid, started)
        assert child.alive()

        lab.kill()
        lab.wait()

    until = time.monotonic() + 5
    while child.alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not child.alive()
