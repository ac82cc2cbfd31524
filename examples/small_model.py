"""A small language model, trained here on the project's own pages: half a minute, and nothing is downloaded.

    python examples/small_model.py demo-run/small

FOLDER gets model/ as transformers writes it, train.txt that it was trained on, and held-out.txt, every eighth
paragraph of the pages. What is learnt in half a minute is enough for perplexities that mean something: a
conversion that destroys the weights is seen to.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stl_models.metrics import perplexity, spread
from stl_models.text import token_batches
from stl_search.cli.terminal import progress_bar

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
#: Of windows, in training as in the judgement.
LENGTH = 64
#: Windows that are judged, the same as `stl-search convert --evaluate` takes.
JUDGED = 64


def write_texts(folder: Path) -> tuple[str, str]:
    """(train, held out), written beside the model."""
    paragraphs = "\n\n".join(page.read_text(encoding="utf-8") for page in PAGES).split("\n\n")
    held_out = "\n\n".join(paragraphs[::8])
    train = "\n\n".join(text for number, text in enumerate(paragraphs) if number % 8)
    (folder / "train.txt").write_text(train, encoding="utf-8")
    (folder / "held-out.txt").write_text(held_out, encoding="utf-8")
    return train, held_out


def make_tokenizer(text: str) -> PreTrainedTokenizerFast:
    """Byte pairs, 512 of them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--steps", type=click.IntRange(min=2), default=240, show_default=True)
@click.option("--width", type=click.IntRange(min=16), default=128, show_default=True)
def main(folder: Path, steps: int, width: int) -> None:
    """Write FOLDER/model, train.txt and held-out.txt."""
    torch.manual_seed(0)
    # transformers' bar for a file that takes a moment.
    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = write_texts(folder)
    tokenizer = make_tokenizer(train)
    windows, judged = (
        torch.cat([part["input_ids"] for part in token_batches(tokenizer, text, length=LENGTH)])
        for text in (train, held_out)
    )
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=LENGTH,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    with progress_bar("training", remaining=True) as progress:
        for step in range(steps):
            ids = windows[torch.randint(len(windows), (16,))]
            loss = model(input_ids=ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            progress(f"loss {float(loss.detach()):.2f}", step + 1, steps)
    model.eval().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    found = perplexity(model, spread([judged], JUDGED))
    print(f"{folder / 'model'}: {numbers / 1e6:.2f} million numbers after {steps} steps")
    print(f"perplexity of held-out text {found:.1f}; {len(tokenizer)} is what guessing has")


if __name__ == "__main__":
    main()
