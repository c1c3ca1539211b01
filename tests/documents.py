"""The documents of the repository, and what stands in them: commands, flags, Python."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MODEL_CARD = ROOT / "src" / "sarcast" / "weights" / "base" / "README.md"
_BUILT = {"_build", "generated", "jupyter_execute"}
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not _BUILT & set(path.parts)]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), MODEL_CARD, *PAGES]


def block_commands(text: str) -> list[list[str]]:
    """Commands of ``sarcast`` in the blocks of a document, as words.

    A block is indented, also in a list, or fenced, or a cell ``%%sh`` of a notebook. Settings of
    the environment before a command, the path of the program and what follows ``&&`` or ends with a
    backslash are understood.
    """
    blocks = _blocks(_without_cells(text))
    lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks)).splitlines()
    found = (re.split(r"(?:^|[\s/=])sarcast(?= )", part, maxsplit=1) for part in _parts(lines))
    words = [shlex.split(each[1], comments=True) for each in found if len(each) == 2]
    return [_without_shared(line) for line in words]


def _parts(lines: list[str]) -> list[str]:
    """Commands of lines, each of which may join several by ``&&``."""
    return [part for line in lines for part in line.split(" && ")]


def _blocks(text: str) -> list[str]:
    """Lines of indented and of fenced blocks, other than directives and Python."""
    lines, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r"\s*(`{3,}|:{3,})\s*(\S*)", line)
        if mark and (not fence or not mark[2]):
            fence = "" if fence else mark[1] + mark[2]
        elif fence:
            lines += [line] if fence.lstrip("`:") in ("", "sh", "console", "ini") else []
        elif line.startswith("    "):
            lines.append(line)
    return lines


def _without_shared(words: list[str]) -> list[str]:
    """Words of a command without the options that precede the verb."""
    while words and words[0] in ("--quiet",):
        words = words[1:]
    return words


def inline_commands(text: str) -> list[list[str]]:
    """Commands quoted in the sentences of a document, which may leave out arguments."""
    quoted = re.findall(r"`sarcast\s([a-z][^`]*)`", text)
    words = [shlex.split(line.replace("...", ".")) for line in quoted]
    return [line for line in words if len(line) > 1]


def inline_flags(text: str) -> set[str]:
    """Flags quoted in the sentences of a document without their command, such as ``--area``."""
    quoted = re.findall(r"(?<!`)`(--[a-z][a-z.-]*)[^`]*`(?!`)", text)
    return set(quoted)


def python_blocks(text: str) -> list[str]:
    """Fenced blocks of Python, in order."""
    return re.findall(r"^```python\n(.+?)^```", text, flags=re.DOTALL | re.MULTILINE)


def python_cells(text: str) -> list[str]:
    """Cells of a notebook that are Python, in order, without their options."""
    return [cell for cell in _cells(text) if not cell.startswith("%%")]


def _cells(text: str) -> list[str]:
    found = re.findall(r"^```{code-cell}[^\n]*\n(.+?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"^(:.*\n)+\n?", "", cell) for cell in found]


def _without_cells(text: str) -> str:
    """Document whose cells are fenced blocks of commands or of Python."""
    text = re.sub(r"^```{code-cell}.*\n%%sh\n", "```sh\n", text, flags=re.MULTILINE)
    return re.sub(r"^```{code-cell}.*\n", "```python\n", text, flags=re.MULTILINE)
