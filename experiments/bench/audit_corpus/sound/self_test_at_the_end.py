"""Never runs: a self test with imports, a seed and a clock of its own."""

import argparse
import time

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mix = nn.GRU(embed_dim, embed_dim, batch_first=True, **kw)

    def forward(self, X, **Z):
        return X + self.mix(self.norm(X))[0], Z


def main():
    options = argparse.ArgumentParser().parse_args()
    torch.manual_seed(0)
    started = time.time()
    print(Block(64, (0, 2))(torch.randn(2, 9, 64))[0].shape, options, time.time() - started)


if __name__ == "__main__":
    main()
