"""Silero VAD, a detector of speech in the waveform: chunks of 576 samples at 16 kHz -> probability of speech.

Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", 2024,
github.com/snakers4/silero-vad. The wheel of silero-vad has the trained weights of the 16 kHz network, whose
names of layers this module has.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import Preprocessing

_BINS = 129  # of a Fourier transform of 256 samples
_BEFORE, _NEW = 64, 512  # samples of a chunk: some of the chunk before, and its own
_SIDE, _CHUNKS = 64, 8


class Silero(nn.Module):
    """One chunk [B, 576] and the state of the LSTM -> probability of speech [B, 1] and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * _BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(_BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, chunk: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = nn.functional.pad(chunk[:, None], (0, 64), mode="reflect")
        real, imaginary = self.stft_conv(x).split(_BINS, 1)
        x = torch.sqrt(real**2 + imaginary**2)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.relu(layer(x))
        hidden, cell = self.lstm_cell(x.squeeze(-1), state)
        speech = torch.sigmoid(self.final_conv(torch.relu(hidden)[..., None]))
        return speech.squeeze(-1), (hidden, cell)


class Deployed(nn.Module):
    """Takes the green of an image [B, 3, 64, 64], row by row, as 0.26 s of sound: eight chunks -> [B, 8].

    A row is a period of 250 Hz, so that photographs sound like a voice in some chunks. The state of the LSTM
    and the sound before the first chunk are zero, as at the start of a recording.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Silero()

    def forward(self, image: Tensor) -> tuple[Tensor]:
        sound = nn.functional.pad(image[:, 1].flatten(1), (_BEFORE, 0))
        zero = torch.zeros(image.shape[0], 128, dtype=image.dtype)
        state, found = (zero, zero), []
        for i in range(_CHUNKS):
            speech, state = self.network(sound[:, _NEW * i : _NEW * (i + 1) + _BEFORE], state)
            found.append(speech)
        return (torch.cat(found, 1),)


NETWORKS = (
    Trained(
        declared(
            "silero_vad",
            "silero:Deployed",
            _SIDE,
            replace(
                output("speech", "probability of speech", _CHUNKS), range=(0.0, 1.0), decision="probability"
            ),
            preprocessing=Preprocessing("bilinear", (0.5,) * 3, (0.5,) * 3),
        ),
        "Silero VAD at 16 kHz, of silero-vad 6.2.3",
        "silero_vad-6.2.3-py3-none-any.whl",
        "silero_vad/data/silero_vad_16k.safetensors",
    ),
)
