#!/usr/bin/env python3
"""Steps of `tlp plan train` beside PyTorch, in turn within one run.

    make build/test/bench/bench_train_step
    v/bin/pip install torch gguf
    v/bin/python bench/bench-train-step.py MODEL TEXT [--csv train.csv]

Both train eight `par` pairs, all matrices (--lora 0) or LoRA, on windows of 256
tokens, one window a step, with equal maths: f32 on dequantised weights, the KL
divergence from the serial model's 64 likeliest tokens and one event for all
other tokens, gradients from the first trained layer on, a clipped norm, AdamW.

Both know the window's targets, as in all epochs but the first.  libtlp also
has the window's residual stream before the first trained layer, and PyTorch
runs the frozen layers before it without gradients, unless --kept gives it the
stream too.
With --first each step has a new window, and both also run the serial model in
f32 for its targets.

PyTorch has its fused kernels: rms_norm, scaled_dot_product_attention and AdamW
with fused=True; --compile puts the stages through torch.compile.

A figure is the median over the steps of all rounds, with the fastest and the
slowest step; `cpu` is the processor time of all threads.  The losses of both
are compared before anything is printed.
"""
import argparse
import copy
import math
import os
import statistics
import subprocess
import sys
import time

import bench_record
import gguf
import torch
from torch.nn import functional as F

PLAN = "par:3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27"
N_STEP, N_TOP, RATE, WARM_UP, LAST_RATE = 400, 64, 1e-5, 0.03, 0.1
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up",
            "ffn_down")


def rate_of(step):
    warm, at = max(1, WARM_UP * N_STEP), step + 1
    if at < warm:
        return RATE * at / warm
    part = (at - warm) / max(1, N_STEP - warm)
    return RATE * (LAST_RATE + (1 - LAST_RATE) * 0.5
                   * (1 + math.cos(math.pi * part)))


class Model:
    """A GGUF file of the architecture llama, dequantised."""

    def __init__(self, path):
        r = gguf.GGUFReader(path)
        self.w = {t.name.removesuffix(".weight"): torch.tensor(
            gguf.dequantize(t.data, t.tensor_type)) for t in r.tensors}

        def field(name):
            f = r.fields["llama." + name]
            return f.parts[f.data[0]][0].item()
        self.n_head = field("attention.head_count")
        self.n_kv = field("attention.head_count_kv")
        self.n_layer = field("block_count")
        self.eps = field("attention.layer_norm_rms_epsilon")
        self.base = field("rope.freq_base")
        self.w.setdefault("output", self.w["token_embd"])
        self.d = self.w["token_embd"].shape[1]
        self.h = self.d // self.n_head
        for i in range(self.n_layer):
            for name, n in (("attn_q", self.n_head), ("attn_k", self.n_kv)):
                key = f"blk.{i}.{name}"
                # the two numbers of a pair are neighbours in a GGUF file
                self.w[key] = self.w[key].view(n, self.h // 2, 2, self.d) \
                    .transpose(1, 2).reshape(n * self.h, self.d).contiguous()


class Net:
    def __init__(self, model, plan, rank, n_token, compiles):
        self.m, self.rank, self.param = model, rank, []
        groups = [tuple(map(int, g.split("-")))
                  for g in plan.removeprefix("par:").split(",")] if plan else []
        second = {b for _, b in groups}
        self.stages = [next((g for g in groups if g[0] == i), (i,))
                       for i in range(model.n_layer) if i not in second]
        self.first = next((i for i, s in enumerate(self.stages) if len(s) > 1),
                          len(self.stages))
        self.lora = {}
        for i in (l for g in groups for l in g):
            for name in MATRICES:
                self.train(f"blk.{i}.{name}")
        angle = torch.outer(torch.arange(n_token), model.base ** (
            -torch.arange(0, model.h, 2, dtype=torch.float64) / model.h))
        self.cos = torch.cat([angle.cos()] * 2, -1).float()
        self.sin = torch.cat([-angle.sin(), angle.sin()], -1).float()
        self.stage = torch.compile(self.run_stage) if compiles \
            else self.run_stage

    def train(self, key):
        w = self.m.w[key]
        if self.rank == 0:
            self.m.w[key] = w.clone().requires_grad_()
            self.param.append(self.m.w[key])
            return
        down = torch.empty(self.rank, w.shape[1])
        down.uniform_(-1, 1).mul_(math.sqrt(3 / w.shape[1]))
        self.lora[key] = (down.requires_grad_(),
                          torch.zeros(w.shape[0], self.rank,
                                      requires_grad=True))
        self.param += self.lora[key]

    def linear(self, x, key):
        y = F.linear(x, self.m.w[key])
        if key not in self.lora:
            return y
        down, up = self.lora[key]
        return torch.addmm(y, F.linear(x, down), up.t())

    def turn(self, x):
        return x * self.cos[:x.shape[1]] \
            + x.roll(self.m.h // 2, -1) * self.sin[:x.shape[1]]

    def attention(self, x, i):
        m, n = self.m, x.shape[0]
        x = F.rms_norm(x, (m.d,), m.w[f"blk.{i}.attn_norm"], m.eps)
        q, k, v = (self.linear(x, f"blk.{i}.attn_{c}").view(n, -1, m.h)
                   .transpose(0, 1) for c in "qkv")
        o = F.scaled_dot_product_attention(
            self.turn(q)[None], self.turn(k)[None], v[None], is_causal=True,
            enable_gqa=True)[0]
        return self.linear(o.transpose(0, 1).reshape(n, -1),
                           f"blk.{i}.attn_output")

    def feed(self, x, i):
        x = F.rms_norm(x, (self.m.d,), self.m.w[f"blk.{i}.ffn_norm"],
                       self.m.eps)
        return self.linear(F.silu(self.linear(x, f"blk.{i}.ffn_gate"))
                           * self.linear(x, f"blk.{i}.ffn_up"),
                           f"blk.{i}.ffn_down")

    def run_stage(self, x, layers):
        z = x
        for i in layers:
            a = self.attention(x, i)
            z = z + a + self.feed(x + a, i)
        return z

    def run(self, x, stages):
        for layers in stages:
            x = self.stage(x, layers)
        return x

    def logits(self, x):
        x = F.rms_norm(x, (self.m.d,), self.m.w["output_norm"], self.m.eps)
        return F.linear(x, self.m.w["output"])

    def embed(self, ids):
        return F.embedding(ids, self.m.w["token_embd"])


class Torch:
    """The trained net and its teacher, and what an epoch keeps of a window."""

    def __init__(self, a, model, rank, ids):
        own = copy.copy(model)
        own.w = dict(model.w)
        self.teacher = Net(model, None, 0, a.window, False)
        self.net = Net(own, PLAN, rank, a.window, a.compile)
        self.opt = torch.optim.AdamW(self.net.param, lr=RATE,
                                     betas=(0.9, 0.95), eps=1e-8,
                                     weight_decay=0, fused=True)
        self.windows = torch.tensor(ids).view(-1, a.window)
        self.n_step, self.losses, self.targets = 0, [], {}
        self.border = None
        self.keeps_border = a.kept

    @torch.no_grad()
    def target(self, window):
        x = self.net.embed(self.windows[window])
        logits = self.teacher.logits(self.teacher.run(
            x, self.teacher.stages)[:-1])
        top, at = logits.topk(N_TOP, -1)
        return at, (top - logits.logsumexp(-1, True)).exp()

    @torch.no_grad()
    def before(self, window):
        return self.net.run(self.net.embed(self.windows[window]),
                            self.net.stages[:self.net.first])

    def loss(self, x, at, p):
        log_q = self.net.logits(x[:-1]).log_softmax(-1).gather(-1, at)
        rest = (1 - p.sum(-1)).clamp_min(1e-7)
        other = (1 - log_q.exp().sum(-1)).clamp_min(1e-30)
        return ((p * (p.log() - log_q)).sum(-1)
                + rest * (rest.log() - other.log())).mean()

    def step(self):
        window = self.n_step % len(self.windows)
        if self.keeps_border and self.border is None:
            self.border = self.before(window)
        at, p = self.targets.get(window) or self.target(window)
        if len(self.windows) == 1:
            self.targets[window] = at, p
        x = self.border if self.keeps_border else self.before(window)
        x = self.net.run(x, self.net.stages[self.net.first:])
        loss = self.loss(x, at, p)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.param, 1.0)
        for g in self.opt.param_groups:
            g["lr"] = rate_of(self.n_step)
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        self.n_step += 1
        self.losses.append(loss.item())

    def timed(self):
        cpu, wall = time.process_time(), time.perf_counter()
        self.step()
        return ((time.perf_counter() - wall) * 1e3,
                (time.process_time() - cpu) * 1e3)


class Tlp:
    """bench_train_step, which does a step for each line."""

    def __init__(self, a, rank, n_window, n_thread):
        self.run = subprocess.Popen(
            [f"{a.build}/test/bench/bench_train_step", a.model, PLAN, a.text,
             str(a.window), str(n_window), str(n_thread), str(rank),
             str(a.memory), str(a.spin)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.ids = list(map(int, self.line().removeprefix("ids").split()))
        self.losses = []
        self.line()  # the validation before the first step

    def line(self):
        line = self.run.stdout.readline()
        if not line:
            sys.exit("bench-train-step: bench_train_step ended")
        return line

    def timed(self):
        """A step, or None where the time includes a validation."""
        print(file=self.run.stdin)
        while (line := self.line().split())[0] == "loss":
            self.losses.append(float(line[1]))
        return (float(line[3]), float(line[5])) if line[7] == "0" else None

    def close(self):
        self.run.stdin.close()
        self.run.wait()


def check_losses(tlp, ours):
    """The mean loss of the steps before the first validation."""
    n = N_STEP // 20
    if not tlp.losses or len(ours.losses) < n:
        return print("losses: too few steps to compare them")
    a, b = tlp.losses[0], statistics.mean(ours.losses[:n])
    print(f"mean loss of {n} steps: libtlp {a:.6f}, torch {b:.6f}")
    if abs(a - b) > 1e-3 * b:
        sys.exit("bench-train-step: the losses differ")


def measure(a, model, rank, n_thread):
    torch.set_num_threads(n_thread)
    tlp = Tlp(a, rank, a.first or 1, n_thread)
    ours = Torch(a, model, rank, tlp.ids)
    found = {"libtlp": [], "torch": []}
    for engine in (tlp, ours):
        for _ in range(2):
            engine.timed()
    for _ in range(a.rounds):
        for name, engine in (("libtlp", tlp), ("torch", ours)):
            found[name] += [t for t in (engine.timed()
                                        for _ in range(a.steps)) if t]
    tlp.close()
    if not a.first:
        check_losses(tlp, ours)
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--lora", default="0,16", help="ranks; 0: all matrices")
    p.add_argument("--threads", default=str(len(os.sched_getaffinity(0))))
    p.add_argument("--window", type=int, default=256)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--steps", type=int, default=3, help="in a round")
    p.add_argument("--memory", type=int, default=0, help="MiB of max_bytes")
    p.add_argument("--spin", type=int, default=0, help="spin_us of libtlp")
    p.add_argument("--first", type=int, metavar="N",
                   help="the first epoch of N windows")
    p.add_argument("--kept", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--build", default="build")
    p.add_argument("--csv")
    p.add_argument("--machine")
    a = p.parse_args()
    if a.kept and a.first:
        p.error("--kept and --first: give one of them")
    model, rows = Model(a.model), []
    for n_thread in map(int, a.threads.split(",")):
        for rank in map(int, a.lora.split(",")):
            found = measure(a, model, rank, n_thread)
            speed = {}
            for name, times in found.items():
                wall, cpu = zip(*times)
                rate = [a.window / t * 1e3 for t in wall]
                speed[name] = statistics.median(rate)
                what = f"lora {rank}" if rank else "full"
                print(f"{n_thread} {what:8} {name:7} tokens/s: median "
                      f"{speed[name]:7.1f}  min {min(rate):7.1f}  max "
                      f"{max(rate):7.1f}  cpu ms: median "
                      f"{statistics.median(cpu):8.1f}  min {min(cpu):8.1f}",
                      flush=True)
                engine = name
                if name == "torch":
                    engine += " kept" * a.kept + " compiled" * a.compile
                key = bench_record.case_of(
                    train=what, epoch="first" if a.first else "later",
                    engine=engine, threads=n_thread, spin_us=a.spin,
                    load=f"{os.getloadavg()[0]:.1f}")
                rows.append((key, speed[name], min(rate), max(rate),
                             "tokens/s"))
                rows.append((f"{key}; clock=cpu", statistics.median(cpu),
                             min(cpu), max(cpu), "ms"))
            ratio = speed["libtlp"] / speed["torch"]
            print(f"{n_thread} {what:8} ratio {ratio:.2f}  "
                  f"(load {os.getloadavg()[0]:.1f})", flush=True)
    if a.csv:
        bench_record.append(os.path.abspath(a.csv), "train-step", rows,
                            a.machine)


main()
