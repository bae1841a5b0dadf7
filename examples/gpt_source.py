"""Train a small GPT on the source of Python's own standard library, and let it write some.

python examples/gpt_source.py
python examples/gpt_source.py --steps 1000 --width 256 --layers 4
"""

from __future__ import annotations

import argparse
import sysconfig

import numpy as np

import tinytorch
from tinytorch import GPT, AdamW, CharTokenizer, CosineSchedule, CrossEntropyLoss, clip_grad_norm


def main() -> None:
    """Train on random pieces of text, and print what the model makes of a beginning."""
    parser = argparse.ArgumentParser(description="A GPT on Python source text.")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--length", type=int, default=64, help="characters it looks at")
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    source = tinytorch.data.text(sysconfig.get_paths()["stdlib"], "*.py", limit=500_000)
    tokenizer = CharTokenizer()
    tokens = np.array(tokenizer.encode(source))
    model = GPT(tokenizer.vocab_size, asked.width, asked.layers, 4, max_seq_len=asked.length)
    optimizer, loss_fn = AdamW(model.parameters(), lr=3e-3), CrossEntropyLoss()
    schedule = CosineSchedule(3e-3, 3e-4, asked.steps)
    for step in range(asked.steps):
        starts = np.random.randint(0, len(tokens) - asked.length - 1, asked.batch)
        pieces = tokens[starts[:, None] + np.arange(asked.length + 1)]
        optimizer.lr = schedule.get_lr(step)
        optimizer.zero_grad()
        loss = loss_fn(model(pieces[:, :-1]), pieces[:, 1:])
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == asked.steps - 1:
            print(f"step {step:4}  loss {loss.item():.3f} (of {np.log(tokenizer.vocab_size):.2f})")

    prompt = "def "
    written = model.generate(tokenizer.encode(prompt), max_new_tokens=120, temperature=0.7)
    text = tokenizer.decode(written.numpy()[0])
    print(text.encode("ascii", "replace").decode())


if __name__ == "__main__":
    main()
