"""Kills and interrupts at random moments; the same command must then give the undisturbed result.

Run it in the folder ``tests``::

    python -m faults.kills [--verbs cube,train] [--number 100] [--seed 0] [--signals KILL,INT]
    python -m faults.kills --verbs VERB --signals KILL --seed 0 --only NUMBER

Further verbs are export, monitor, predict and world, a further signal is TERM.
"""

import argparse
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .contents import Contents, contents, differences, states
from .verbs import MOST, VERBS, Verb, has_product, prepare
from .zygote import ESCAPED, Ended, forked, preload, run, start

SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM}
STATUS = {"KILL": -signal.SIGKILL, "INT": 130, "TERM": 143}
"""Exit status of a run that a signal ended."""

FEW = 4
"""Fewer trials than these do not need two undisturbed runs."""


@dataclass
class Undisturbed:
    """What a verb does when nothing disturbs it.

    Attributes
    ----------
    verb
        The verb.
    seconds
        How long it takes.
    before, after
        Contents of the current folder before and after it.
    """

    verb: Verb
    seconds: float
    before: Contents
    after: Contents


@dataclass
class Tally:
    """Outcomes of the trials of a verb and a signal."""

    name: str
    signal: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        count = self.counts
        return (
            f"{self.name:10} {self.signal:4} {count['runs']:4} runs, {count['died']:4} died before "
            f"the end, {count['equal']:4} equal, {count['leftovers']:3} leftovers, "
            f"{count['lost']:3} lost, {self.seconds:.0f} s"
        )


class Bench:
    """Folders in which the verbs run, with their inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        prepare(folder)
        self._inputs = states(folder / "in")

    def undisturbed(self, verb: Verb, *, once: bool = False) -> Undisturbed:
        """Run a verb twice, or once; both runs must give the same."""
        if once:
            return self._undisturbed(verb)
        first, second = (self._undisturbed(verb) for _ in range(2))
        if differing := differences(first.after, second.after):
            raise AssertionError(f"two runs of {verb.words} differ: {differing[:9]}")
        return first if first.seconds < second.seconds else second

    def _undisturbed(self, verb: Verb) -> Undisturbed:
        folder = self.fresh(verb)
        before = self.contents(folder)
        ended = run(("--quiet", *verb.words), folder, self.folder / "log")
        if ended.status:
            raise AssertionError(f"{verb.words} ended with {ended.status}: {ended.output}")
        return Undisturbed(verb, ended.seconds, before, self.contents(folder))

    def contents(self, folder: Path) -> Contents:
        """Contents of a folder, read in a child."""
        return forked(lambda: contents(folder), self.folder / "contents")

    def fresh(self, verb: Verb) -> Path:
        """Give a new folder with the inputs, and what the verb needs to be there before it."""
        folder = self.folder / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if verb.before:
            kept = self.folder / f"before-{abs(hash(verb.before))}"
            if not kept.is_dir():
                ended = run(("--quiet", *verb.before), folder, self.folder / "log")
                if ended.status:
                    raise AssertionError(f"{verb.before}: {ended.output}")
                shutil.copytree(folder / "out", kept)
            else:
                shutil.copytree(kept, folder / "out")
        return folder

    def trial(
        self, case: Undisturbed, name: str, rng: np.random.Generator
    ) -> tuple[bool, list[str]]:
        """Disturb a run at a random moment, then run it again.

        Returns
        -------
        died : bool
            Whether the signal came before the end.
        faults : list of str
            What is wrong afterwards; each begins with a word.
        """
        folder, delay = self.fresh(case.verb), rng.uniform(0.0, case.seconds)
        child = start(("--quiet", *case.verb.words), folder, self.folder / "log")
        time.sleep(delay)
        died = child.send(SIGNALS[name])
        ended = child.wait()
        died = died and ended.status != 0
        faults = [f"{fault} after {delay:.3f} s" for fault in _faults_of(ended, name)]
        if died and name != "KILL":
            faults += _leftovers_at_once(self.contents(folder), case)
        faults += self._again(case, folder)
        if changed := differences(states(self.folder / "in"), self._inputs):
            faults.append(f"lost: inputs changed: {changed[:5]}")
        return died, faults

    def _again(self, case: Undisturbed, folder: Path) -> list[str]:
        """Run a verb again, as its message says, and compare the results."""
        words = ("--quiet", *case.verb.words)
        ended = run(words, folder, self.folder / "log")
        if ended.status == 1 and "add --overwrite" in ended.output:
            if differing := differences(self.contents(folder), case.after):
                return [f"lost: a finished result differs: {differing[:9]}"]
            ended = run((*words, "--overwrite"), folder, self.folder / "log")
        if ended.status:
            return [f"lost: the next run ended with {ended.status}: {ended.output[-2000:]}"]
        return _compare(self.contents(folder), case)


def _faults_of(ended: Ended, name: str) -> list[str]:
    """What is wrong with the end of a disturbed run."""
    lines = [line for line in ended.output.splitlines() if line.startswith("sarcast: ")]
    if ended.status == ESCAPED or "Traceback" in ended.output:
        return [f"traceback: {ended.output[-3000:]}"]
    if ended.status not in (0, STATUS[name]):
        return [f"status: {ended.status}, {ended.output[-1000:]}"]
    if ended.status == STATUS[name] and name != "KILL" and len(lines) != 1:
        return [f"message: {ended.output[-1000:]!r}"]
    return []


def _leftovers_at_once(found: Contents, case: Undisturbed) -> list[str]:
    """What an interrupted run left although it could clean up."""
    known = case.before.keys() | case.after.keys()
    left = [name for name in found if name not in known]
    if case.verb.resumes:
        left = [name for name in left if ".partial" in name or ".replaced" in name]
    elif name_lost := [name for name in case.before if name not in found]:
        return [f"lost: at once: {name_lost[:9]}"]
    return [f"leftovers: at once: {left[:9]}"] if left else []


def _compare(found: Contents, case: Undisturbed) -> list[str]:
    differing = differences(found, case.after)
    if not differing:
        return []
    only_more = all(each.endswith("(left over)") for each in differing)
    return [f"{'leftovers' if only_more else 'lost'}: {differing[:9]}"]


def campaign(bench: Bench, name: str, signals: list[str], numbers: range, seed: int) -> list[Tally]:
    """Disturb a verb many times."""
    case = bench.undisturbed(VERBS[name], once=len(numbers) < FEW)
    tallies = []
    for which in signals:
        tally, started = Tally(name, which), time.monotonic()
        for number in numbers:
            rng = np.random.default_rng([seed, SIGNALS[which], number])
            died, faults = bench.trial(case, which, rng)
            tally.counts.update({"runs": 1, "died": int(died), "equal": int(not faults)})
            for fault in faults:
                kind = "leftovers" if fault.startswith("leftovers") else "lost"
                tally.counts[kind] += 1
                tally.failures.append(f"{name} {which} --seed {seed} --only {number}: {fault}")
        tally.seconds = time.monotonic() - started
        tallies.append(tally)
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbs", default=",".join(MOST))
    parser.add_argument("--signals", default="KILL,INT")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    numbers = range(arguments.number)
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
    preload()
    failures = 0
    with TemporaryDirectory(prefix="sarcast-kills-") as folder:
        bench = Bench(Path(folder) / "bench")
        for name in arguments.verbs.split(","):
            if name == "rtc" and not has_product():
                say("rtc: no product, see SARCAST_TEST_DATA")
                continue
            signals = arguments.signals.split(",")
            for tally in campaign(bench, name, signals, numbers, arguments.seed):
                failures += len(tally.failures)
                say("\n".join([tally.line(), *tally.failures]))
    sys.exit(bool(failures))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
