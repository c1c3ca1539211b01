"""Mutated inputs of each kind, read as a user's would be; run in the folder ``tests``.

python -m fuzz [KIND...] [--number 20000] [--seed 0] [--save DIR]
python -m fuzz KIND --only NUMBER [--seed 0] [--save DIR]
"""

import argparse
import signal
import sys
from pathlib import Path

from .harness import Tally, campaign
from .kinds import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*KINDS], metavar="KIND[:NUMBER]")
    parser.add_argument("--number", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--refusals", action="store_true", help="show the most frequent ones")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the worker ends, too
    faults = 0
    for argument in arguments.kinds:
        name, _, number = argument.partition(":")
        if name not in KINDS:
            parser.error(f"{name} is none of {', '.join(KINDS)}")
        some = range(int(number or arguments.number))
        numbers = some if arguments.only is None else [arguments.only]
        if lacking := KINDS[name].missing():
            _say(f"{name}: left out, it needs {lacking}")
            continue
        tally = campaign(KINDS[name], numbers, arguments.seed, save=arguments.save, say=_say)
        _show(tally, arguments.seed)
        for line, count in tally.refusals.most_common(20 if arguments.refusals else 0):
            _say(f"{count:6d} refused: {line}")
        faults += tally.faults
    sys.exit(bool(faults))


def _show(tally: Tally, seed: int) -> None:
    _say(tally.line())
    for line in tally.report(seed):
        _say(line)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
