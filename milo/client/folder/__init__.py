"""A folder of recordings in, a folder of subtitles out: what `milo transcribe` does, over the client.

`inputs.py` finds recordings and names their outputs, `manifest.py` remembers what is done, `feed.py` sends and queues,
`run.py` collects.
Knows nothing of terminals.
"""

from milo.client.folder.collect import Run, Snapshot
from milo.client.folder.inputs import Input, find_inputs
from milo.client.folder.manifest import Manifest
from milo.client.folder.upload import FileResult

__all__ = ["FileResult", "Input", "Manifest", "Run", "Snapshot", "find_inputs"]
