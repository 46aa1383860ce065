"""How good a voice in training is: its losses on clips that it was not trained on, and a sentence to listen to."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import torch
from torch.nn import functional as F

from milo.audio.encode import encode as encode_audio
from milo.engines.speech.vits import SEED, VitsSynthesizer
from milo.errors import MiloError
from milo.synthesis.normalization import sentences
from trainer.loop.seeding import seeded
from trainer.vits.audio import log_mel, spectrogram
from trainer.vits.clips import Clips
from trainer.vits.forward import encode
from trainer.vits.gan import Gan
from trainer.vits.losses import kl_loss

MOST_CLIPS = 16
NAMES = ("mel", "kl", "duration")


def judge(gan: Gan, clips: Clips) -> Generator[None, None, dict[str, float]]:
    """The mean `eval/loss_*` of the clips, one clip between two yields.

    `eval/loss_mel` is of speech made from the *text*, with the durations that were aligned: what a listener will hear,
    where `tts/loss_mel` is of audio that went through the posterior encoder. The noise is the same every time.
    """
    totals = dict.fromkeys(NAMES, 0.0)
    count = min(MOST_CLIPS, len(clips))
    for index in range(count):
        gan.model.eval()
        for name, value in zip(NAMES, _losses(gan, clips, index), strict=True):
            totals[name] += value / count
        yield
    return {f"eval/loss_{name}": total for name, total in totals.items()}


@torch.no_grad()
def _losses(gan: Gan, clips: Clips, index: int) -> tuple[float, ...]:
    batch = clips.batch([index]).to(gan.device)
    framing = gan.voice.framing
    with seeded(f"judge/{index}", gan.device):
        latents = encode(gan.model, batch, framing)
    posterior = gan.model.flow(latents.prior_mean * latents.mask, latents.mask, latents.speaker, reverse=True)
    wave = gan.model.decoder(posterior * latents.mask, latents.speaker)
    mel = F.l1_loss(log_mel(spectrogram(wave.squeeze(1), framing), framing), latents.mel)
    kl = kl_loss(
        latents.flowed, latents.posterior_log_stddev, latents.prior_mean, latents.prior_log_stddev, latents.mask
    )
    return float(mel), float(kl), float(latents.duration_loss)


def write_sample(gan: Gan, text: str, language: str, path: Path) -> str:
    """Speak the first sentence of `text` into a wav file. Returns why there is none, or "".

    Through the serving engine, with its own noise: what the file says is what the deployed model would say.
    """
    voice = gan.voice
    gan.model.eval()
    synth = VitsSynthesizer(voice.base, gan.model, voice.tokens, (language,))
    try:
        with seeded(f"sample/{SEED}", gan.device):
            samples = synth.synthesize(voice.readable(sentences(text)[0], language), language=language)
        if not len(samples):
            return "the text has nothing that can be spoken"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_audio(samples, synth.sample_rate_hz, "wav"))
    except MiloError as error:
        return error.detail
    finally:
        synth.close()
    return ""
