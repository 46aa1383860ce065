"""The Silero VAD network, 16 kHz: probability of speech for each frame of 512 samples.

The weights are those of the ONNX file inside the PyPI package `silero-vad` (MIT, https://github.com/snakers4/silero-vad);
that package itself is never imported, because it imports torch. Two ways to run them, with equal results:
`NumpySilero` computes the encoder of a whole block as a few matrix products (ONNX Runtime's convolutions are slow on
signals of four steps), `OnnxSilero` runs the file as it is, whatever version of the model it holds.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from threadpoolctl import ThreadpoolController

from milo.errors import ModelUnavailable

FRAME, CONTEXT = 512, 64
"""Samples of one frame, and of the audio before it that the network also sees."""
_STATE = 128
_FILE = "silero_vad_16k_sequence.onnx"
_KNOWN_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
"""The file that `NumpySilero` was written for (silero-vad 6.2.3). Another one runs in ONNX Runtime."""
_BLOCK_FRAMES = 64

Array = npt.NDArray[np.float32]
State = tuple[Array, Array]
"""Hidden and cell state of the LSTM, each of shape (128,)."""


class Silero(Protocol):
    def __call__(self, frames: Array, state: State) -> tuple[Array, State]:
        """Probabilities (n,) of `frames` (n, 64 + 512), in order of time, and the state after them."""
        ...


def zero_state() -> State:
    return np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32)


def model_path() -> Path:
    """Where the ONNX file lies. Raises `ModelUnavailable` when the package is not there."""
    spec = importlib.util.find_spec("silero_vad")
    path = Path(spec.origin).parent / "data" / _FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ModelUnavailable(
            f"The voice activity model {_FILE} is not installed; run: pip install 'silero-vad>=6.2.3'"
        )
    return path


@lru_cache(maxsize=1)
def load_silero() -> Silero:
    """The network, loaded once a process; it has no state of its own and may be shared by threads."""
    path = model_path()
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == _KNOWN_SHA256:
        return NumpySilero(data)
    return OnnxSilero(path)


class OnnxSilero:
    """The ONNX file in ONNX Runtime, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, frames: Array, state: State) -> tuple[Array, State]:
        hidden, cell = (part.reshape(1, 1, _STATE) for part in state)
        if not len(frames):
            return np.zeros(0, np.float32), state
        probabilities, hidden, cell = self._session.run(
            ["speech_probs", "hn", "cn"], {"input": frames, "h": hidden, "c": cell}
        )
        return probabilities.reshape(-1), (hidden.reshape(-1), cell.reshape(-1))


class NumpySilero:
    """The same network in matrix products: STFT magnitude, four convolutions, one LSTM cell, one output."""

    def __init__(self, onnx_bytes: bytes) -> None:
        # On products this small OpenBLAS's threads mostly spin: nine times the CPU time on a busy machine.
        self._blas = ThreadpoolController().select(user_api="blas")
        weights = _initializers(onnx_bytes)
        self._stft = _rows(weights["stft.forward_basis_buffer"])
        (k0, k1, k2, k3), (self._b0, self._b1, self._b2, self._b3) = (
            [weights[f"encoder.{n}.{part}"] for n in range(4)] for part in ("weight", "bias")
        )
        # A kernel (out, in, 3) becomes a matrix (3 * in, out). Of the last two, on one or two time steps
        # between zeros, only the taps that meet a time step are kept.
        self._k0, self._k1 = _rows(k0), _rows(k1)
        self._k2, self._k3 = _rows(k2[:, :, 1:]), _rows(k3[:, :, 1:2])
        self._lstm(*(weights[f"lstm.{part}"] for part in "WRB"))
        self._silence = self._encode(np.zeros((1, CONTEXT + FRAME), np.float32))
        self._out, self._out_bias = weights["output.weight"].reshape(_STATE), weights["output.bias"]

    def _lstm(self, w: Array, r: Array, b: Array) -> None:
        """Gates from ONNX order (i, o, f, g) to (i, f, o, g); halved where sigmoid(x) = (tanh(x / 2) + 1) / 2."""
        order = np.concatenate([np.arange(_STATE) + _STATE * gate for gate in (0, 2, 1, 3)])
        scale = np.repeat(np.array([0.5, 0.5, 0.5, 1.0], np.float32), _STATE)
        self._w = np.ascontiguousarray((w[0][order] * scale[:, None]).T)
        self._r = np.ascontiguousarray((r[0][order] * scale[:, None]).T)
        self._b: Array = (b[0][: 4 * _STATE] + b[0][4 * _STATE :])[order] * scale

    def __call__(self, frames: Array, state: State) -> tuple[Array, State]:
        hiddens = np.empty((len(frames), _STATE), np.float32)
        with self._blas.limit(limits=1):
            for at in range(0, len(frames), _BLOCK_FRAMES):
                block = slice(at, at + _BLOCK_FRAMES)
                state = self._recur(self._gates(frames[block]), state, hiddens[block])
        logits = np.maximum(hiddens, 0) @ self._out + self._out_bias
        probabilities: Array = 1 / (1 + np.exp(-logits))
        return probabilities, state

    def _gates(self, frames: Array) -> Array:
        """As `_encode`, where frames of digital silence cost nothing: their input to the gates is always the same."""
        sounds = frames.any(axis=1)
        if sounds.all():
            return self._encode(frames)
        gates = np.repeat(self._silence, len(frames), axis=0)
        gates[sounds] = self._encode(frames[sounds])
        return gates

    def _encode(self, frames: Array) -> Array:
        """Input of the LSTM gates, shape (n, 512), for frames (n, 576). Time is the last axis but one throughout."""
        n, width = frames.shape
        padded = np.empty((n, width + 64), np.float32)
        padded[:, :width] = frames
        padded[:, width:] = frames[:, width - 2 : width - 66 : -1]
        spectrum = _windows(padded[:, :, None], 4, 256, 128) @ self._stft
        np.square(spectrum, out=spectrum)
        bins = self._stft.shape[1] // 2
        magnitude = np.zeros((n, 6, bins), np.float32)
        np.sqrt((spectrum[:, :bins] + spectrum[:, bins:]).reshape(n, 4, bins), out=magnitude[:, 1:5])
        hidden = np.zeros((n, 6, 128), np.float32)
        hidden[:, 1:5] = _relu(_windows(magnitude, 4, 3, 1) @ self._k0, self._b0).reshape(n, 4, 128)
        narrow = _relu(_windows(hidden, 2, 3, 2) @ self._k1, self._b1)
        narrow = _relu(narrow.reshape(n, 128) @ self._k2, self._b2)
        gates: Array = _relu(narrow @ self._k3, self._b3) @ self._w
        gates += self._b
        return gates

    def _recur(self, gates: Array, state: State, hiddens: Array) -> State:
        """Runs the LSTM cell over `gates` (n, 512) and writes the hidden states to `hiddens` (n, 128)."""
        hidden, cell = state[0], state[1].copy()
        z, squashed = np.empty(4 * _STATE, np.float32), np.empty(_STATE, np.float32)
        sigmoids, i, f, o, g = z[: 3 * _STATE], *z.reshape(4, _STATE)
        for row, out in zip(gates, hiddens, strict=True):
            np.dot(hidden, self._r, out=z)
            z += row
            np.tanh(z, out=z)
            sigmoids *= 0.5
            sigmoids += 0.5
            i *= g
            cell *= f
            cell += i
            np.tanh(cell, out=squashed)
            hidden = np.multiply(o, squashed, out=out)
        return hidden.copy(), cell


def _rows(kernel: Array) -> Array:
    """A convolution kernel (out, in, taps) as a matrix (taps * in, out)."""
    return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, kernel.shape[0]))


def _windows(signal: Array, count: int, taps: int, stride: int) -> Array:
    """The rows (n * count, taps * channels) that a convolution meets in a contiguous signal (n, time, channels)."""
    n, _, channels = signal.shape
    by_item, by_step, _ = signal.strides
    view = as_strided(signal, (n, count, taps * channels), (by_item, stride * by_step, 4), writeable=False)
    return view.reshape(n * count, taps * channels)


def _relu(values: Array, bias: Array) -> Array:
    values += bias
    return np.maximum(values, 0, out=values)


def _initializers(onnx_bytes: bytes) -> dict[str, Array]:
    """The float tensors of an ONNX file by name; those of its LSTM node as lstm.W, lstm.R, lstm.B.

    Field numbers from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: ModelProto.graph 7, GraphProto.node 1
    and .initializer 5, NodeProto.input 1 and .op_type 4, TensorProto.dims 1, .name 8 and .raw_data 9.
    """
    tensors: dict[str, Array] = {}
    lstm: list[str] = []
    graph = next(value for field, value in _fields(memoryview(onnx_bytes)) if field == 7)
    for field, value in _fields(graph):
        if field == 5:
            parts = list(_fields(value))
            shape = [size for number, size in parts if number == 1]
            name, raw = (next(bytes(v) for number, v in parts if number == wanted) for wanted in (8, 9))
            tensors[name.decode()] = np.frombuffer(raw, "<f4").reshape(shape)
        elif field == 1:
            parts = list(_fields(value))
            if (4, b"LSTM") in parts:
                lstm = [bytes(v).decode() for number, v in parts if number == 1]
    return tensors | {f"lstm.{part}": tensors[name] for part, name in zip("WRB", lstm[1:4], strict=True)}


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message: integers, or the bytes of what has a length."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
        yield key >> 3, message[at : at + size]
        at += size
