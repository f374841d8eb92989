"""Text models that grow by a layout's tokens; the models are tiny, of random weights, and built here."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from codec import CodecError
from codec.tokens.layouts import AudioVocab, extend_model, load_layout, make_layout, train_bpe

WORDS = ["<unk>", "<s>", "</s>", "hello", "world", "say", "this", ":"]
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CODES = torch.tensor([[0, 7, 3], [4, 0, 5]])


def tokenizer_of_words() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def llama(rows=8, tied=False):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZE, vocab_size=rows, tie_word_embeddings=tied, num_key_value_heads=1))


def qwen(rows=8, tied=True):
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**SIZE, vocab_size=rows, tie_word_embeddings=tied, num_key_value_heads=1))


def vocab() -> AudioVocab:
    return AudioVocab("0123456789abcdef", 16_000, 320, (8, 6))


@pytest.mark.parametrize("build", [llama, qwen])
@pytest.mark.parametrize("tied", [False, True])
def test_one_call_extends_a_tokenizer_and_its_model(build, tied, tmp_path):
    tokenizer, model = tokenizer_of_words(), build(tied=tied)
    text = tokenizer("say this : hello", return_tensors="pt").input_ids
    old = model(text).logits.detach()
    layout = extend_model(make_layout("flat", vocab()), tokenizer, model)
    assert layout.vocab.base == len(WORDS)
    assert len(tokenizer) == len(WORDS) + layout.size
    assert model.config.vocab_size == model.get_input_embeddings().weight.shape[0] == 64
    # The text model is what it was.
    assert torch.equal(tokenizer("say this : hello", return_tensors="pt").input_ids, text)
    torch.testing.assert_close(model(text).logits[..., : len(WORDS)], old)
    # The ids are those of the text, and fit the model.
    ids = layout.encode(CODES)
    assert tokenizer(make_layout("text", vocab()).encode(CODES)).input_ids == ids.tolist()
    assert torch.isfinite(model(ids[None]).logits).all()
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == make_layout("text", vocab()).encode(CODES)
    # All of it comes back from its files.
    for part in (tokenizer, model):
        part.save_pretrained(tmp_path)
    layout.save(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(ids[None]).logits, model(ids[None]).logits)
    again = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again("hello" + make_layout("text", vocab()).encode(CODES)).input_ids == [3, *ids.tolist()]
    assert torch.equal(load_layout(tmp_path).decode(ids), CODES)


@pytest.mark.parametrize("tied", [False, True])
def test_new_rows_resemble_the_mean_of_the_old_ones(tied):
    tokenizer, model = tokenizer_of_words(), llama(tied=tied)
    layout = extend_model(make_layout("flat", vocab()), tokenizer, model)
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        old, new = table.weight[: len(WORDS)], table.weight[len(WORDS) : len(WORDS) + layout.size]
        away = (new - old.mean(0)) / old.std(0)
        assert 0.05 < away.std() < 0.15
        assert len(torch.unique(new, dim=0)) == layout.size


def test_rows_beyond_the_tokenizer_are_used_and_kept():
    """Qwen's models have more embeddings than its tokenizers have tokens."""
    tokenizer, model = tokenizer_of_words(), qwen(rows=256)
    before = model.get_input_embeddings().weight.detach().clone()
    layout = extend_model(make_layout("flat", vocab()), tokenizer, model)
    after = model.get_input_embeddings().weight
    assert after.shape == before.shape
    changed = (after != before).any(1).nonzero().flatten().tolist()
    assert changed == list(range(len(WORDS), len(WORDS) + layout.size))


@pytest.mark.parametrize("name", ["coarse_first", "delay", "parallel", "semantic_first", "text"])
def test_every_layout_with_one_table_extends(name):
    tokenizer, model = tokenizer_of_words(), llama()
    layout = extend_model(make_layout(name, vocab()), tokenizer, model)
    assert layout.name == name
    assert torch.equal(layout.decode(layout.encode(CODES)), CODES)
    assert tokenizer.convert_ids_to_tokens(layout.ids.specials["start"]) == "<|speech_start|>"


def test_bpe_extends_by_its_runs_too():
    clips = [torch.tensor([[1, 2] * 10, [0] * 20])] * 3
    tokenizer = tokenizer_of_words()
    layout = extend_model(train_bpe(vocab(), clips, merges=2), tokenizer)
    assert layout.size == 8 + 2 + 6 + 4
    assert len(tokenizer) == len(WORDS) + layout.size
    assert torch.equal(layout.decode(layout.encode(clips[0])), clips[0])


def test_a_tokenizer_is_extended_once():
    tokenizer = tokenizer_of_words()
    extend_model(make_layout("flat", vocab()), tokenizer)
    with pytest.raises(CodecError, match=r"the tokenizer has <\|s0_0\|> already"):
        extend_model(make_layout("delay", vocab()), tokenizer)


def test_tables_of_each_codebook_do_not_fit_one_tokenizer():
    with pytest.raises(CodecError, match="shared=True"):
        extend_model(make_layout("delay", vocab(), shared=False), tokenizer_of_words())


def test_another_models_tokenizer_is_refused():
    with pytest.raises(CodecError, match="8 tokens, but 4 embeddings"):
        extend_model(make_layout("flat", vocab()), tokenizer_of_words(), llama(rows=4))
