#!/usr/bin/env python3
"""Temp-LoRA updates in PyTorch (Debian: python3-torch, libopenblas0-pthread), float32, for comparison with `LongCtx.Kernels.Bench training`.

Random frozen weights of a model's shapes, LoRA on all seven projections, two epochs, logits of the labels only.
Usage: /usr/bin/python3 training.py pg19-7m|smollm2 CHUNK PREFIX RANK THREADS [UPDATES]. One thread is measured in processor time.
"""
import math, resource, sys, time

import torch
import torch.nn.functional as F

SHAPES = {  # layers, hidden, query heads, KV heads, head, feed-forward, vocabulary
    "pg19-7m": (8, 256, 4, 2, 64, 704, 4096),
    "smollm2": (30, 576, 9, 3, 64, 1536, 49152),
}
name = sys.argv[1]
chunk, prefix, rank, threads = map(int, sys.argv[2:6])
updates = int(sys.argv[6]) if len(sys.argv) > 6 else 5
layers, hidden, heads, kv_heads, d, ffn, vocabulary = SHAPES[name]
torch.set_num_threads(threads)
torch.manual_seed(1)
n = prefix + chunk


class Linear:
    def __init__(self, inputs, outputs):
        self.w = torch.randn(outputs, inputs) / math.sqrt(inputs)
        self.a = torch.nn.Parameter((torch.rand(rank, inputs) * 2 - 1) / math.sqrt(inputs))
        self.b = torch.nn.Parameter(torch.zeros(outputs, rank))
        parameters.extend([self.a, self.b])

    def __call__(self, x):
        return F.linear(x, self.w) + F.linear(F.linear(x, self.a), self.b)


parameters = []
blocks = [{
    "q": Linear(hidden, heads * d), "k": Linear(hidden, kv_heads * d), "v": Linear(hidden, kv_heads * d), "o": Linear(heads * d, hidden),
    "gate": Linear(hidden, ffn), "up": Linear(hidden, ffn), "down": Linear(ffn, hidden)} for _ in range(layers)]
embedding = torch.randn(vocabulary, hidden) * 0.05
angles = torch.arange(n)[:, None] * (10000.0 ** (-torch.arange(0, d, 2) / d))[None, :]
cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)
mask = torch.full((n, n), -math.inf).triu(1)


def norm(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


def rotate(x):
    return x * cos + torch.cat([-x[..., d // 2:], x[..., : d // 2]], -1) * sin


def loss(tokens):
    x = embedding[tokens]
    for b in blocks:
        y = norm(x)
        q, k, v = (b[p](y).view(n, -1, d).transpose(0, 1) for p in "qkv")
        k, v = (z.repeat_interleave(heads // kv_heads, 0) for z in (rotate(k), v))
        p = torch.softmax(rotate(q) @ k.transpose(1, 2) / math.sqrt(d) + mask, -1)
        x = x + b["o"]((p @ v).transpose(0, 1).reshape(n, -1))
        y = norm(x)
        x = x + b["down"](F.silu(b["gate"](y)) * b["up"](y))
    return F.cross_entropy(F.linear(norm(x[prefix - 1: -1]), embedding), tokens[prefix:])


tokens = torch.randint(vocabulary, (n,))
optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0)
clock = time.process_time if threads == 1 else time.perf_counter
best = math.inf
for _ in range(updates):
    started = clock()
    for _ in range(2):
        optimizer.zero_grad()
        loss(tokens).backward()
        optimizer.step()
    best = min(best, clock() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(f"torch {torch.__version__} {name}: chunk {chunk}, prefix {prefix}, rank {rank}, 2 epochs, {threads} threads: {chunk / best:.0f} tokens/s, peak memory {peak:.0f} MB")
