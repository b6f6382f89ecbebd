"""The double of an API server in a process of its own: a cluster of so many services with one slice each, which changes on command.

python -m tests.bench.apiserver SERVICES ENDPOINTS [bare]

`bare`: the slices name no pods, and there are none.

It writes its kubeconfig as a line of JSON. To each line RATE SECONDS it answers, when that is over, with a line of JSON: [service,
monotonic seconds] of each of its events, in which one endpoint of a service's slice is no longer ready, or is again.
"""

import asyncio
import gc
import hashlib
import json
import random
import sys
import time
from collections import Counter
from functools import partial

from tests.support.apiserver.double import Double
from tests.support.apiserver.kinds import Object
from tests.support.objects import NAMESPACE, endpoint, node, pod, service, slice_of

_REMEMBERED = 2_000
"""Events: each takes as much memory as its slice."""


def name_of(number: int) -> str:
    return f"service-{number}"


def pod_name(number: int, place: int) -> str:
    """As a ReplicaSet's pods are called."""
    digest = hashlib.blake2b(f"{number} {place}".encode(), digest_size=5).hexdigest()
    return f"{name_of(number)}-7f9c6d5b8-{digest[:5]}"


def fill(double: Double, services: int, endpoints: int, *, bare: bool) -> None:
    double.store.capacity = _REMEMBERED
    double.apply(*(node(f"node-{number}", "region", f"zone-{number % 3}") for number in range(50)))
    for number in range(services):
        name = name_of(number)
        pods, entries = [], []
        for place in range(endpoints):
            index = number * endpoints + place
            its, address, at = pod_name(number, place), f"10.{index // 62_500}.{index // 250 % 250}.{index % 250 + 1}", f"node-{index % 50}"
            if not bare:
                pods.append(pod(its, address, app=name, node=at))
            entries.append({**endpoint("" if bare else its, address), "nodeName": at, "zone": f"zone-{index % 3}"})
        clustered = service(name, {"http": (80, 8080)}, ip=f"10.96.{number // 250}.{number % 250 + 1}")
        double.apply(*pods, clustered, slice_of(name, {"http": 8080}, entries))


async def churn(double: Double, services: int, rate: float, seconds: float) -> list[tuple[int, float]]:
    """So many events a second, evenly; those that are late are made up for."""
    chance, slices = random.Random(1), double.store.resource_of("EndpointSlice")
    done: list[tuple[int, float]] = []
    turns: Counter[int] = Counter()
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        while len(done) < now * rate:
            number = chance.randrange(services)
            done.append((number, time.monotonic()))
            double.store.amend(slices, (NAMESPACE, f"{name_of(number)}-1"), partial(flipped, turn=turns[number]))
            turns[number] += 1
        await asyncio.sleep(0.0005)
    return done


def flipped(value: Object, *, turn: int) -> Object:
    """The slice with another readiness of one endpoint: each has its turn, so that no event undoes the last."""
    entries = list(value["endpoints"])
    place = turn % len(entries)
    ready = not entries[place]["conditions"]["ready"]
    entries[place] = {**entries[place], "conditions": {"ready": ready, "serving": ready, "terminating": False}}
    return {**value, "endpoints": entries}


def main() -> None:
    gc.disable()  # a look at 100,000 pods takes half a second, for which events would wait, and makes no memory free
    services, endpoints, bare = int(sys.argv[1]), int(sys.argv[2]), "bare" in sys.argv[3:]
    with Double() as double:
        fill(double, services, endpoints, bare=bare)
        print(json.dumps(double.kubeconfig()), flush=True)
        for line in sys.stdin:
            rate, seconds = map(float, line.split())
            print(json.dumps(double.run(churn(double, services, rate, seconds))), flush=True)


if __name__ == "__main__":
    main()
