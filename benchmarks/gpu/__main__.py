"""Everything there is to know about a GPU, on one page, in eight minutes, without the network.

    python -m benchmarks.gpu --output=docs/measurements/gpu.md
    python -m benchmarks.gpu --tiny

Every part is a process of its own and has a time of its own: one that fails, hangs or runs out of memory stops no
other, and the page says what became of it. The page is written line by line, so that it is of use when the command is
killed. `--tiny` runs every part on a CPU in about a minute: a trial of the kit, no measurement.
"""

import signal
import sys

from absl import app, flags

from benchmarks.gpu.options import folder, is_tiny, seconds_left
from benchmarks.gpu.page import Page, run_part
from benchmarks.gpu.parts import PARTS, chosen_parts

_OUTPUT = flags.DEFINE_string("output", "", "File that gets the page, too.")
_PARTS = flags.DEFINE_list("parts", [part.name for part in PARTS], "What to run.")


def main(argv: list[str]) -> None:
    """Flags in, page out; exit code 1 where a part failed."""
    del argv
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the part that runs is ended, too
    parts, page, tiny = chosen_parts(_PARTS.value), Page(_OUTPUT.value), is_tiny()
    page("# A GPU, measured\n")
    page("```\npython -m benchmarks.gpu" + " --tiny" * tiny + "\n```")
    page("printed this page." + " **A trial on a small scale: no number here says anything.**" * tiny)
    failed = []
    for part in parts:
        page(f"\n## {part.title}\n{part.note}\n")
        # A trial is not about time: on a busy core each part takes as long as it needs.
        seconds = seconds_left() if tiny else min(part.seconds, seconds_left())
        if not run_part(page, part, seconds, tiny=tiny, folder=folder()):
            failed.append(part.name)
    page()
    page(f"{len(parts) - len(failed)} of {len(parts)} parts done" + (f"; not: {', '.join(failed)}." if failed else "."))
    sys.exit(bool(failed))


if __name__ == "__main__":
    app.run(main)
