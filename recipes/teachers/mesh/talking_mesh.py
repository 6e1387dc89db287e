"""Research code as one finds it: a network that gives vertices, with its own way to be loaded.

A face of 1,200 vertices on half an ellipsoid, 10 cm wide, moved by the curves that a student of
ARKit's blendshapes gives: audio `[batch, samples]` at 16 kHz → vertices `[batch, frames, 3600]` in
metres, 62.5 frames a second.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

ROWS, COLUMNS = 30, 40
# What moves a vertex: ARKit's control → centre on the face (right, up), reach, direction, in metres.
MOVES = {
    "jawOpen": ((0.0, -0.045), 0.025, (0.0, -0.018, -0.004)),
    "mouthClose": ((0.0, -0.034), 0.012, (0.0, 0.018, 0.0)),
    "mouthFunnel": ((0.0, -0.028), 0.014, (0.0, 0.0, 0.008)),
    "mouthPucker": ((0.0, -0.028), 0.012, (0.0, 0.0, 0.011)),
    "mouthUpperUpLeft": ((0.010, -0.022), 0.008, (0.0, 0.006, 0.0)),
    "mouthUpperUpRight": ((-0.010, -0.022), 0.008, (0.0, 0.006, 0.0)),
    "mouthLowerDownLeft": ((0.010, -0.034), 0.008, (0.0, -0.006, 0.0)),
    "mouthLowerDownRight": ((-0.010, -0.034), 0.008, (0.0, -0.006, 0.0)),
    "mouthSmileLeft": ((0.022, -0.026), 0.012, (0.006, 0.005, -0.003)),
    "mouthSmileRight": ((-0.022, -0.026), 0.012, (-0.006, 0.005, -0.003)),
}


def face() -> Tensor:
    """The face at rest: `[1200, 3]`, right, up and forward, in metres."""
    up = torch.linspace(-0.07, 0.07, ROWS)[:, None].expand(ROWS, COLUMNS)
    right = torch.linspace(-0.05, 0.05, COLUMNS)[None].expand(ROWS, COLUMNS)
    inside = 1 - (right / 0.06) ** 2 - (up / 0.08) ** 2
    return torch.stack([right, up, 0.05 * inside.clamp(min=0).sqrt()], -1).reshape(-1, 3)


def lips() -> list[int]:
    """Numbers of the vertices around the mouth."""
    right, up, _ = face().T
    return torch.nonzero((right / 0.02) ** 2 + ((up + 0.028) / 0.012) ** 2 < 1)[:, 0].tolist()


class TalkingMesh(nn.Module):
    """The student's curves times what each of them moves."""

    def __init__(self) -> None:
        super().__init__()
        from compress.assets import resolve
        from compress.students.storing import load_student

        self.student, card = load_student(resolve("builtin:small", Path()))
        rest = face()
        moved = torch.zeros(len(card.driven), len(rest), 3)
        for name, (centre, reach, direction) in MOVES.items():
            distance = (rest[:, :2] - torch.tensor(centre)).norm(dim=1)
            share = torch.exp(-((distance / reach) ** 2))
            moved[card.driven.index(name)] = share[:, None] * torch.tensor(direction)
        self.register_buffer("rest", rest.flatten())
        self.register_buffer("moved", moved.flatten(1))

    def forward(self, audio: Tensor) -> Tensor:
        """float32 `[batch, samples]` → float32 `[batch, frames, 3600]`."""
        return self.rest + self.student.animate(audio) @ self.moved


def build() -> TalkingMesh:
    """What a recipe names: talking_mesh:build."""
    return TalkingMesh()
