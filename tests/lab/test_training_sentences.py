from pathlib import Path

import numpy as np
import tokenizers
import torch
from interlock_lab.training.sentences import (
    Bag,
    SentenceNet,
    SentenceSettings,
    fit,
    reduced_embeddings,
    sentence_ids,
)

SETTINGS = SentenceSettings(
    width=8, channels=8, epochs=15, batch_sentences=16, learning_rate=3e-2, dropout=0.0, word_dropout=0.0
)


def a_tokenizer() -> "tokenizers.Tokenizer":
    words = ["[UNK]", "the", "cat", "sat", "dog", "ran", "far", "away", ".", "!"]
    model = tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_a_sentence_looks_the_same_whatever_surrounds_it() -> None:
    """Text before and after adds sentences; the ids of this one stay as they are."""
    alone = sentence_ids(["the cat sat."], a_tokenizer())[0][0].tolist()
    around = sentence_ids(["the dog ran! the cat sat. far away the cat ran!"], a_tokenizer())[0]
    assert alone in [sentence.tolist() for sentence in around]


def test_a_long_sentence_is_cut_into_overlapping_pieces() -> None:
    """No token of an endless sentence is left out, and no piece is longer than the net reads."""
    pieces = sentence_ids(["cat " * 200], a_tokenizer())[0]
    assert max(map(len, pieces)) <= 64
    assert sum(len(piece) - 2 for piece in pieces) > 200


def test_padding_cannot_change_a_score() -> None:
    """A sentence scores the same alone and beside a longer one."""
    torch.manual_seed(0)
    net = SentenceNet(50, SETTINGS).eval()
    ids, padded = torch.tensor([[3, 4, 5]]), torch.tensor([[3, 4, 5, 0, 0, 0, 0, 0]])
    mask = (torch.arange(8) < 3).long()[None]
    assert torch.allclose(net(ids, torch.ones_like(ids)), net(padded, mask), atol=1e-6)


def test_reduction_keeps_what_lies_in_few_directions() -> None:
    """Word vectors of rank two survive a reduction to two dimensions but for scale and rotation."""
    torch.manual_seed(0)
    words = torch.randn(40, 2) @ torch.randn(2, 12)
    before, after = torch.cdist(words, words), torch.cdist(*[reduced_embeddings(words, 2)] * 2)
    assert torch.allclose(before / before.max(), after / after.max(), atol=1e-3)


def test_the_worst_sentence_learns_the_label_of_the_whole(tmp_path: Path) -> None:
    """Given only labels of whole texts, the net finds the sentence that explains them."""
    bad, good = np.array([101, 7, 102], np.int32), np.array([101, 8, 102], np.int32)
    label = np.array([1, 0, 0, 0], np.float32)
    bags = [Bag([good, bad, good], label, 1.0), Bag([good, good], 0 * label, 1.0)] * 8
    torch.manual_seed(0)
    net = fit(bags, torch.randn(200, 16), SETTINGS, tmp_path / "checkpoint")
    found = net(torch.from_numpy(np.stack([bad, good])).long(), torch.ones(2, 3)).detach()
    assert found[0, 0] > 0 > found[1, 0]
