"""Form: another name and a constructor of the width alone; the file has no other block."""

from torch import nn


class ShortConvMixer(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.conv = nn.Conv1d(d_model, d_model, 4, padding=3, groups=d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, hidden_states):
        y = self.conv(self.norm(hidden_states).transpose(1, 2))[..., : hidden_states.shape[1]]
        return hidden_states + self.out(y.transpose(1, 2).tanh())
