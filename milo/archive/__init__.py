"""A folder of recordings in, a folder of subtitles out: what `milo transcribe` does, over the client.

`inputs.py` finds recordings and names their outputs, `manifest.py` remembers what is done, `feed.py` sends and queues,
`run.py` collects.
Knows nothing of terminals.
"""

from milo.archive.feed import FileResult
from milo.archive.inputs import Input, find_inputs
from milo.archive.manifest import Manifest
from milo.archive.run import Run, Snapshot

__all__ = ["FileResult", "Input", "Manifest", "Run", "Snapshot", "find_inputs"]
