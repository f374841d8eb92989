"""Tiny random teachers in folders, as transformers saves them, with tokenizers made here."""

import json
from pathlib import Path

import torch
import transformers

CONV = {
    "conv_dim": (8,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "num_feat_extract_layers": 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("the", "cat", "sat", "on", "mat", "dog", "ran", "far", "##s", "##ly", "away")


def save_hubert(folder: Path, norm: str = "group") -> str:
    """HuBERT with the real front end's geometry: 400 samples of field, stride 320."""
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        **SMALL, **CONV, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", vocab_size=4
    )
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(
        folder
    )
    return str(folder)


def save_ctc(folder: Path) -> str:
    """wav2vec 2.0 with a CTC head over small letters; ``|`` parts words, ``<pad>`` is the blank."""
    torch.manual_seed(1)
    vocabulary = {text: i for i, text in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS, "'"])}
    config = transformers.Wav2Vec2Config(
        **SMALL, **CONV, feat_extract_norm="layer", do_stable_layer_norm=True, vocab_size=len(vocabulary)
    )
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    file = Path(folder) / "vocab.json"
    file.write_text(json.dumps(vocabulary))
    transformers.Wav2Vec2CTCTokenizer(file).save_pretrained(folder)
    return str(folder)


def save_bert(folder: Path, window: int = 24) -> str:
    """BERT with a vocabulary of a few words and letters."""
    torch.manual_seed(2)
    letters = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    config = transformers.BertConfig(**SMALL, vocab_size=len(vocabulary), max_position_embeddings=window)
    transformers.BertModel(config).save_pretrained(folder)
    Path(folder, "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    tokenizer.model_max_length = window
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_whisper(folder: Path, positions: int = 100, text_positions: int = 64) -> str:
    """Whisper whose window is ``positions`` / 50 seconds, with a tokenizer over single bytes."""
    torch.manual_seed(3)
    tokenizer = _byte_tokenizer(Path(folder))
    special = {text: tokenizer.convert_tokens_to_ids(text) for text in _SPECIAL}
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_source_positions=positions,
        max_target_positions=text_positions,
        vocab_size=len(tokenizer),
        pad_token_id=special["<|endoftext|>"],
        bos_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|endoftext|>"],
        decoder_start_token_id=special["<|startoftranscript|>"],
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    settings = {
        "alignment_heads": [[1, 0], [1, 1]],
        "no_timestamps_token_id": special["<|notimestamps|>"],
        "lang_to_id": {"<|en|>": special["<|en|>"], "<|de|>": special["<|de|>"]},
        "task_to_id": {"transcribe": special["<|transcribe|>"], "translate": special["<|translate|>"]},
        "is_multilingual": True,
        "_from_model_config": False,
        "max_length": 24,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
        "median_filter_width": 3,
    }
    for key, value in settings.items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(folder)
    seconds = positions // 50
    transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=seconds).save_pretrained(folder)
    return str(folder)


_SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


def _byte_tokenizer(folder: Path) -> transformers.WhisperTokenizerFast:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {text: i for i, text in enumerate([*bytes_to_unicode().values(), "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = transformers.WhisperTokenizerFast(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    )
    stamps = [f"<|{step * 0.02:.2f}|>" for step in range(101)]
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL[1:]})
    tokenizer.add_tokens(stamps)
    tokenizer.save_pretrained(folder)
    return tokenizer
