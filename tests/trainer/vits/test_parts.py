"""The parts of a VITS training on their own: alignment, frames, plan, discriminators."""

from __future__ import annotations

import itertools

import torch
from torch.distributions import Normal

from trainer.vits.audio import Framing, log_mel, spectrogram
from trainer.vits.clips import BatchPlan
from trainer.vits.discriminators import Discriminators
from trainer.vits.forward import align


def test_the_alignment_is_the_likeliest_of_all_monotonic_ones_and_leaves_padding_alone() -> None:
    torch.manual_seed(0)
    tokens, frames, channels = (3, 4), (7, 6), 2
    flowed = torch.randn(2, channels, 8)
    means, log_stddevs = torch.randn(2, channels, 5), 0.3 * torch.randn(2, channels, 5)
    token_mask, frame_mask = torch.zeros(2, 1, 5), torch.zeros(2, 1, 8)
    for row in range(2):
        token_mask[row, :, : tokens[row]] = frame_mask[row, :, : frames[row]] = 1
    path = align(flowed, means, log_stddevs, token_mask, frame_mask)
    for row in range(2):
        count, length = tokens[row], frames[row]
        likely = Normal(means[row].T[:, None], log_stddevs[row].exp().T[:, None]).log_prob(flowed[row].T[None]).sum(-1)
        best = max(
            itertools.combinations(range(1, length), count - 1),
            key=lambda cuts: sum(likely[token, frame] for frame, token in enumerate(_token_of(cuts, length))),
        )
        found = path[row].argmax(0)[:length].tolist()
        assert found == _token_of(best, length)
        assert path[row].sum() == length
        assert (path[row].sum(1)[:count] >= 1).all()


def _token_of(cuts: tuple[int, ...], length: int) -> list[int]:
    return [sum(frame >= cut for cut in cuts) for frame in range(length)]


def test_spectrograms_have_a_frame_for_every_hop_and_the_loudest_band_is_where_the_tone_is() -> None:
    framing = Framing(16_000, 1024, 256)
    wave = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(256 * 20) / 16_000)[None]
    linear = spectrogram(wave, framing)
    assert linear.shape == (1, 513, 20)
    assert linear[0, :, 10].argmax() == round(1000 / 16_000 * 1024)
    mel = log_mel(linear, framing)
    assert mel.shape == (1, 80, 20)
    assert log_mel(spectrogram(torch.zeros(1, 5120), framing), framing).max() < mel.max() - 3


def test_a_plan_takes_every_clip_once_an_epoch_and_keeps_to_its_limits() -> None:
    seconds = [1.0, 2.5, 3.0, 9.0, 4.0, 2.0, 8.0, 5.0, 6.0, 30.0]
    plan, again = BatchPlan(seconds, 4, 20.0, 1), BatchPlan(seconds, 4, 20.0, 1)
    count = plan.count(3)
    batches = [plan[number] for number in range(count)]
    assert [again[number] for number in reversed(range(count))] == batches[::-1]
    for epoch in range(3):
        taken = [clip for at, batch in batches for clip in batch if at == epoch]
        assert sorted(taken) == list(range(len(seconds)))
    assert len({tuple(map(tuple, (b for at, b in batches if at == epoch))) for epoch in range(3)}) > 1
    for _, batch in batches:
        assert len(batch) <= 4
        assert len(batch) == 1 or max(seconds[clip] for clip in batch) * len(batch) <= 20
    assert plan.epochs(count - 1) == 3


def test_the_discriminators_have_the_published_size_and_take_any_length() -> None:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Discriminators().parameters())
    assert abs(parameters - 46.7e6) < 0.1e6
    judged = Discriminators(1 / 32)(torch.randn(2, 1, 8191))
    assert len(judged) == 6 and all(scores.shape[0] == 2 and len(seen) in (6, 7) for scores, seen in judged)
