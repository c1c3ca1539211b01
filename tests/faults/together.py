"""Two verbs on one target at once: the second is refused, and the first is not disturbed.

Run it in the folder ``tests``::

    python -m faults.together [--first detect,train] [--second cube] [--races 20]

The first verb is stopped as soon as it has locked its target; it goes on when the second has ended.
Then, for ``--races``, two runs of one verb start at the same moment.
"""

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from .contents import differences
from .kills import Bench, Undisturbed, say
from .verbs import VERBS, Verb, has_product
from .zygote import Child, preload, run, start

REFUSED = "another run is writing"


def pair(bench: Bench, first: Verb, case: Undisturbed | None, second: Verb) -> list[str]:
    """Start a verb, then another on the same target; give what is wrong.

    Parameters
    ----------
    bench
        Folders of the runs.
    first, second
        The verbs.
    case
        What the first verb gives if nothing disturbs it; None to end it after the second.
    """
    folder = bench.fresh(first)
    child = start(("--quiet", *first.words), folder, bench.folder / "log")
    faults = []
    if not _stopped_with_lock(child, folder / "out"):
        faults.append(f"it never locked its target: {child.wait().output[-1000:]}")
        return faults
    refused = run(("--quiet", *second.words), folder, bench.folder / "second-log")
    if refused.status != 1 or REFUSED not in refused.output:
        faults.append(f"not refused: {refused.status}, {refused.output[-1000:]}")
    child.send(signal.SIGCONT if case else signal.SIGKILL)
    ended = child.wait()
    if case is not None:
        if ended.status:
            faults.append(f"disturbed: {ended.status}, {ended.output[-1000:]}")
        elif differing := differences(bench.contents(folder), case.after):
            faults.append(f"mixed: {differing[:9]}")
    return faults


def race(bench: Bench, case: Undisturbed) -> list[str]:
    """Start a verb twice at the same moment; give what is wrong."""
    folder, (reading, writing) = bench.fresh(case.verb), os.pipe()
    children = [
        start(("--quiet", *case.verb.words), folder, bench.folder / f"log-{n}", (reading, writing))
        for n in range(2)
    ]
    os.close(reading)
    time.sleep(0.1)
    os.close(writing)
    ended = [child.wait() for child in children]
    statuses = Counter(each.status for each in ended)
    said = [each.output for each in ended if each.status == 1]
    if statuses != {0: 1, 1: 1} or not any(
        REFUSED in line or "--overwrite" in line for line in said
    ):
        return [f"statuses {dict(statuses)}: {[each.output[-500:] for each in ended]}"]
    if differing := differences(bench.contents(folder), case.after):
        return [f"mixed: {differing[:9]}"]
    return []


def _stopped_with_lock(child: Child, target: Path) -> bool:
    """Stop a run as soon as it has locked its target; whether it did so before it ended."""
    while child.send(0):
        if _is_locked(target):
            return child.send(signal.SIGSTOP)
        time.sleep(0.002)
    return False


def _is_locked(target: Path) -> bool:
    """Whether a process holds the lock of a folder, by the system's list of locks."""
    if not target.is_dir():
        return False
    inode = f":{target.stat().st_ino} "
    return any("FLOCK" in line and inode in line for line in _LOCKS.read_text().splitlines())


_LOCKS = Path("/proc/locks")


def _each(names: list[str], faults_of: Callable[[str], list[str]], what: str) -> int:
    faults = {name: found for name in names if (found := faults_of(name))}
    say(f"{what}: {len(names) - len(faults)} of {len(names)} right")
    for name, found in faults.items():
        say(f"    {name}: {found}")
    return len(faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    usable = [name for name in VERBS if name != "rtc" or has_product()]
    parser.add_argument("--first", default=",".join(usable))
    parser.add_argument("--second", default=",".join(usable))
    parser.add_argument("--races", type=int, default=0)
    arguments = parser.parse_args()
    preload()
    failures = 0
    with TemporaryDirectory(prefix="sarcast-together-") as folder:
        bench = Bench(Path(folder) / "bench")
        for name in arguments.first.split(","):
            verb = VERBS[name]
            case = None if verb.slow else bench.undisturbed(verb, once=not arguments.races)
            seconds = arguments.second.split(",")
            failures += _each(seconds, lambda n: pair(bench, verb, case, VERBS[n]), f"{name} and")  # noqa: B023
            if case is not None and arguments.races:
                numbers = [str(number) for number in range(arguments.races)]
                failures += _each(numbers, lambda _: race(bench, case), f"races of {name}")  # noqa: B023
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
