"""The tokenizer of the tiny models: byte-level BPE of 2,048 entries, learned once from the standard library.

It is shipped (``tiny_tokenizer.json``) rather than learned on each machine, so that token ids, and with them
data hashes, do not depend on the Python version. ``python -m workbench.models.tiny_tokenizer`` makes it again.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
VOCABULARY = 2048
PAD, START, END, TURN = "<pad>", "<s>", "</s>", "<turn>"
CHAT = (
    "{% for message in messages %}<turn>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


def load() -> Any:
    """A transformers tokenizer; ids 0 to 3 are padding, start, end and the opening of a chat turn."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(FILE),
        pad_token=PAD,
        bos_token=START,
        cls_token=START,
        eos_token=END,
        sep_token=END,
        additional_special_tokens=[TURN],
        chat_template=CHAT,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def train(files: list[str]) -> None:
    """Learn the merges from ``files`` and write :data:`FILE`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [PAD, START, END, TURN]
    tokenizer.train(
        files, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, special.index(START)), (END, special.index(END))]
    )
    tokenizer.save(str(FILE), pretty=False)


if __name__ == "__main__":
    root = Path(sysconfig.get_path("stdlib"))
    train([str(p) for p in sorted(root.glob("*.py"))])
