"""Random NLLB checkpoints for tests: the file layout and tokens of the real thing, tiny and untrained."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from trainer.tiny import nllb


def make_checkpoint(folder: Path, *, seed: int = 0, dtype: str = "float16") -> Path:
    """A loadable checkpoint in `folder`."""
    import torch

    shape = nllb.Shape(d_model=32, ffn=64, heads=2, layers=(1, 1))
    model, _ = nllb.build(seed, shape, folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # random weights as small as transformers draws them say the same token for ever
    copy.deepcopy(model).to(getattr(torch, dtype)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "milo": {"max_source_tokens": 40}}))
    return folder
