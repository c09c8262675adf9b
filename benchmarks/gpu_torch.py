"""An LSTM language model in PyTorch, for ``gpu``: prints its times and memory as JSON.

    python -m benchmarks.gpu_torch '{"task": "train", "embedding": 500, "hidden": 500, "layers": 2,
                                     "batch": 128, "steps": 128, "quick": false}'

On CUDA the layers are cuDNN's, in float32 without TF32. The task "generate" draws symbol by symbol.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.speed_cases import SHAPES
from benchmarks.speed_lstm import NO_TORCH
from benchmarks.timing import Call, time_in_turn

NUM_SYMBOLS = SHAPES["ptb"][0]


def layers(torch: Any, shape: dict[str, Any], device: str) -> tuple[Any, Any, Any]:
    """Embedding, LSTM and output weights."""
    embedding, hidden = shape["embedding"], shape["hidden"]
    parts = (
        torch.nn.Embedding(NUM_SYMBOLS, embedding),
        torch.nn.LSTM(embedding, hidden, shape["layers"], batch_first=True),
        torch.nn.Linear(hidden, NUM_SYMBOLS),
    )
    return tuple(part.to(device) for part in parts)


def training(torch: Any, shape: dict[str, Any], device: str) -> Call:
    """A step of SGD, the gradient clipped."""
    embed, lstm, out = layers(torch, shape, device)
    parameters = [p for part in (embed, lstm, out) for p in part.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-4)
    x = torch.randint(NUM_SYMBOLS, (shape["batch"], shape["steps"]), device=device)

    def step():
        optimizer.zero_grad()
        logits = out(lstm(embed(x[:, :-1]))[0])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.25)
        optimizer.step()

    return step


def generation(torch: Any, shape: dict[str, Any], device: str) -> Call:
    """Draws every symbol given those before."""
    embed, lstm, out = layers(torch, shape, device)

    @torch.no_grad()
    def draw():
        x, state = torch.zeros((shape["batch"], 1), dtype=torch.long, device=device), None
        for _ in range(shape["steps"]):
            hidden, state = lstm(embed(x), state)
            x = torch.multinomial(out(hidden[:, -1]).softmax(-1), 1)

    return draw


TASKS: dict[str, Callable] = {"train": training, "generate": generation}


def main() -> None:
    """Times what the one argument says."""
    try:
        import torch
    except ModuleNotFoundError:
        sys.exit(NO_TORCH)
    shape, cuda = json.loads(sys.argv[1]), torch.cuda.is_available()
    torch.backends.cudnn.allow_tf32 = False
    call = TASKS[shape["task"]](torch, shape, "cuda" if cuda else "cpu")

    def waited_for():
        call()
        if cuda:
            torch.cuda.synchronize()

    times = time_in_turn({"torch": waited_for}, shape["quick"])["torch"]
    peak = torch.cuda.max_memory_allocated() / 1e6 if cuda else None
    on = torch.cuda.get_device_name() if cuda else "cpu"
    print(json.dumps({"times": times, "peak_mbytes": peak, "torch": torch.__version__, "on": on}))


if __name__ == "__main__":
    main()
