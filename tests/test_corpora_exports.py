"""Exports of a corpus, each read back by the library that it is for."""

import json
import shutil
import struct
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from corpora_tools import codes_of, make_corpus, rows_of, write_clips

import codec
from codec import CodecError
from codec.cli import main
from codec.corpora.exports import ExportConfig, export_corpus
from codec.corpora.exports.writers import write_index
from codec.tokens.layouts import AudioVocab, extend_model, load_layout, make_layout, train_bpe


@pytest.fixture(scope="module")
def corpus(tiny_model_dir, tmp_path_factory):
    """Seven clips in three shards, one of them bad."""
    folder = tmp_path_factory.mktemp("corpora")
    write_clips(folder / "clips")
    (folder / "clips" / "bad.wav").write_bytes(b"")
    return make_corpus(folder / "out", tiny_model_dir, folder / "clips")


@pytest.fixture(scope="module")
def rows(corpus):
    return [row for row in rows_of(corpus) if row["error"] is None]


def export(corpus, output, **settings):
    assert export_corpus(ExportConfig(**settings), corpus, output) == 7
    return output


def test_sequences_that_datasets_loads(corpus, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = export(corpus, tmp_path / "out", codebooks=2, base=1000)
    files = sorted(map(str, folder.glob("*.parquet")))
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == ["input_ids", "attention_mask", "labels", "id"]
    layout = load_layout(folder)
    assert (layout.name, layout.vocab.base, layout.num_codebooks) == ("flat", 1000, 2)
    for example, row in zip(loaded, rows, strict=True):
        assert example["id"] == row["id"]
        assert example["input_ids"][0] == layout.ids.specials["start"]
        assert example["input_ids"][-1] == layout.ids.specials["end"]
        assert np.array_equal(layout.decode(example["input_ids"]).numpy(), codes_of(row)[:2])
        assert example["labels"] == example["input_ids"]
        assert example["attention_mask"] == [1] * len(example["input_ids"])


def test_sequences_that_trl_collates(corpus, rows, tmp_path):
    trl = pytest.importorskip("trl.trainer.sft_trainer")
    datasets = pytest.importorskip("datasets")
    folder = export(corpus, tmp_path / "out", codebooks=1)
    files = sorted(map(str, folder.glob("*.parquet")))
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    layout = load_layout(folder)
    batch = trl.DataCollatorForLanguageModeling(pad_token_id=layout.ids.specials["pad"])(list(loaded))
    lengths = [len(row["c0"]) + 2 for row in rows]
    assert batch["input_ids"].shape == (7, max(lengths))
    for ids, labels, length, row in zip(batch["input_ids"], batch["labels"], lengths, rows, strict=True):
        assert np.array_equal(layout.decode(ids[:length]).numpy(), codes_of(row)[:1])
        assert (labels[length:] == -100).all()
        assert torch.equal(labels[:length], ids[:length])


@pytest.mark.parametrize("base", [0, 128_256])
def test_megatron_reads_its_pair_of_files(base, corpus, rows, tmp_path):
    reader = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    folder = export(corpus, tmp_path / "out", format="megatron", base=base)
    layout = load_layout(folder)
    dataset = reader.IndexedDataset(str(folder / "corpus"), mmap=True)
    assert len(dataset) == 7
    assert dataset.document_indices.tolist() == list(range(8))
    for ids, row in zip(dataset, rows, strict=True):
        assert ids.dtype == (np.int32 if base else np.uint16)
        assert np.array_equal(layout.decode(ids.astype(np.int64)).numpy(), codes_of(row))


def test_megatrons_index_by_the_published_format(tmp_path):
    with (tmp_path / "a.idx").open("wb") as file:
        write_index(file, np.array([3, 0, 2]), 2, 8)
    data = (tmp_path / "a.idx").read_bytes()
    assert data[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<QBQQ", data, 9) == (1, 8, 3, 4)
    assert struct.unpack_from("<3i3q4q", data, 9 + 25) == (3, 0, 2, 0, 6, 6, 0, 1, 2, 3)
    assert len(data) == 9 + 25 + 12 + 24 + 32


@pytest.mark.parametrize("layout", [None, "delay"])
def test_tars_that_webdataset_reads(layout, corpus, rows, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = export(corpus, tmp_path / "out", format="webdataset", layout=layout)
    tars = sorted(map(str, folder.glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    for sample, row in zip(samples, rows, strict=True):
        assert sample["json"]["id"] == row["id"]
        assert sample["json"].get("text") == row["text"]
        codes = sample["npy"] if layout is None else load_layout(folder).decode(sample["npy"]).numpy()
        assert np.array_equal(codes, codes_of(row))
    if layout is None:
        assert samples[0]["npy"].dtype == np.uint16
        assert not (folder / "audio_vocab.json").exists()


@pytest.mark.parametrize("layout", [None, "parallel", "semantic_first"])
def test_json_lines(layout, corpus, rows, tmp_path):
    folder = export(corpus, tmp_path / "out", format="jsonl", layout=layout, codebooks=3)
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    for line, row in zip(lines, rows, strict=True):
        assert (line["id"], line["num_samples"], line["speaker"]) == (row["id"], row["num_samples"], row["speaker"])
        codes = np.array(line["codes"]).T if layout is None else load_layout(folder).decode(line["ids"]).numpy()
        assert np.array_equal(codes, codes_of(row)[:3])


def test_exporting_twice_gives_the_same_bytes(corpus, tmp_path):
    for form in ("parquet", "megatron", "webdataset", "jsonl"):
        first, second = (export(corpus, tmp_path / f"{form}{i}", format=form) for i in range(2))
        for path in first.iterdir():
            assert path.read_bytes() == (second / path.name).read_bytes()


def tokenizer_folder(folder, base_words=("<unk>", "hello", "world")):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(base_words)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def test_texts_come_first_and_are_not_learned(corpus, rows, tiny_model, tmp_path):
    tokenizer = tokenizer_folder(tmp_path / "words")
    layout = extend_model(make_layout("flat", AudioVocab.of(tiny_model, num_codebooks=2), markers=True), tokenizer)
    tokenizer.save_pretrained(tmp_path / "words")
    layout.save(tmp_path / "words")
    vocab = str(tmp_path / "words" / "audio_vocab.json")
    folder = export(corpus, tmp_path / "out", vocab=vocab, tokenizer=str(tmp_path / "words"))
    examples = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    spoken = next(i for i, row in enumerate(rows) if row["text"])
    assert examples[spoken]["input_ids"][:2] == [1, 2]
    assert examples[spoken]["labels"][:2] == [-100, -100]
    assert examples[spoken]["labels"][2:] == examples[spoken]["input_ids"][2:]
    assert np.array_equal(layout.decode(examples[spoken]["input_ids"][2:]).numpy(), codes_of(rows[spoken])[:2])
    assert examples[spoken - 1]["input_ids"][0] == layout.ids.specials["start"]


@pytest.mark.parametrize("form", ["jsonl", "webdataset"])
@pytest.mark.parametrize("layout", ["flat", "delay"])
def test_forms_without_one_sequence_hold_the_texts_ids_apart(form, layout, corpus, rows, tmp_path):
    tokenizer_folder(tmp_path / "words")
    options = {"format": form, "layout": layout, "base": 3, "tokenizer": str(tmp_path / "words")}
    folder = export(corpus, tmp_path / "out", **options)
    if form == "jsonl":
        made = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    else:
        made = []
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path) as tar:
                made += [json.load(tar.extractfile(one)) for one in tar if one.name.endswith(".json")]
    assert [one.get("prompt") for one in made] == [[1, 2] if row["text"] else None for row in rows]
    assert any(row["text"] == "hello world" for row in rows)


def test_a_tokenizer_whose_ids_are_the_audios_is_refused(corpus, tmp_path):
    tokenizer_folder(tmp_path / "words")
    with pytest.raises(CodecError, match="id 0 is a token of the text and of the audio, which begins at 0; give --base 3"):
        export_corpus(ExportConfig(tokenizer=str(tmp_path / "words")), corpus, tmp_path / "out")
    with pytest.raises(CodecError, match="no tokenizer of transformers"):
        export_corpus(ExportConfig(tokenizer=str(tmp_path)), corpus, tmp_path / "out")


def test_a_trained_vocabulary(corpus, rows, tiny_model, tmp_path):
    layout = train_bpe(AudioVocab.of(tiny_model), [codes_of(row) for row in rows], merges=20, markers=True)
    layout.save(tmp_path)
    folder = export(corpus, tmp_path / "out", format="jsonl", vocab=str(tmp_path / "audio_vocab.json"))
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    for line, row in zip(lines, rows, strict=True):
        assert np.array_equal(layout.decode(line["ids"]).numpy(), codes_of(row))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "delay"}, "delay has 8 ids a step, parquet holds one sequence; take flat"),
        ({"layout": "parallel", "format": "megatron"}, "parallel has 8 ids a step, megatron holds one sequence"),
        ({"layout": "text"}, "the layout text makes no ids; export flat"),
        ({"layout": "bpe"}, "bpe has to be trained"),
        ({"layout": "falt"}, "unknown layout 'falt'; did you mean 'flat'?"),
        ({"codebooks": 9}, "num_codebooks must be 1 to 8, which the corpus has, got 9"),
        ({"codebooks": 0, "format": "jsonl"}, "num_codebooks must be 1 to 8"),
        ({"vocab": "x", "layout": "flat"}, "--vocab says what --layout, --codebooks and --base say"),
        ({"vocab": "absent.json"}, "absent.json: no such vocabulary"),
        ({"format": "jsonl", "tokenizer": "x"}, "a tokenizer needs a layout too"),
        ({"format": "jsonl", "base": 128_256}, "codes as they are have no ids that begin at 128256; give --layout too"),
        ({"format": "webdataset", "base": 5}, "codes as they are have no ids that begin at 5"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit(settings, message, corpus, tmp_path):
    with pytest.raises(CodecError) as caught:
        export_corpus(ExportConfig(**settings), corpus, tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_of_another_codec(corpus, other_model_dir, tiny_model, tmp_path):
    make_layout("flat", AudioVocab.of(codec.load(other_model_dir))).save(tmp_path / "other.json")
    with pytest.raises(CodecError, match=r"the vocabulary is of codec \w+, the tokens are of \w+; use the codec"):
        export_corpus(ExportConfig(vocab=str(tmp_path / "other.json")), corpus, tmp_path / "out")
    wrong = AudioVocab(tiny_model.fingerprint, 16_000, 320, (4, 4))
    make_layout("flat", wrong).save(tmp_path / "wrong.json")
    with pytest.raises(CodecError, match=r"the vocabulary has codebooks of \[4, 4\] codes, the corpus of"):
        export_corpus(ExportConfig(vocab=str(tmp_path / "wrong.json")), corpus, tmp_path / "out")


def test_a_corpus_that_is_not_done_or_none(corpus, tmp_path):
    with pytest.raises(CodecError, match=r"no corpus of tokens \(plan.json is missing\); codec tokenize makes one"):
        export_corpus(ExportConfig(), tmp_path, tmp_path / "out")
    shutil.copytree(corpus, tmp_path / "copied")
    (tmp_path / "copied" / "shards" / "000001.json").unlink()
    with pytest.raises(CodecError, match="1 of 3 shards are not done, the first 1; run codec tokenize again"):
        export_corpus(ExportConfig(), tmp_path / "copied", tmp_path / "out")


def test_tokens_of_another_model_under_a_shards_name(corpus, other_model_dir, tmp_path):
    """With a report that is made to fit, so that only the file's own facts tell."""
    shutil.copytree(corpus, tmp_path / "copied")
    path, report = (tmp_path / "copied" / "shards" / f"000000.{suffix}" for suffix in ("parquet", "json"))
    table = pq.read_table(path)
    ours = json.loads(table.schema.metadata[b"codec"])["fingerprint"]
    theirs = table.schema.metadata[b"codec"].replace(ours.encode(), codec.load(other_model_dir).fingerprint.encode())
    pq.write_table(table.replace_schema_metadata({b"codec": theirs}), path)
    report.write_text(json.dumps(json.loads(report.read_text()) | {"bytes": path.stat().st_size}))
    with pytest.raises(CodecError, match=r"tokens of model \w+, the corpus is of \w+"):
        export_corpus(ExportConfig(), tmp_path / "copied", tmp_path / "out")


def test_an_output_folder_that_holds_something(corpus, tmp_path):
    (tmp_path / "precious.txt").touch()
    with pytest.raises(CodecError, match="holds precious.txt already; choose an empty folder"):
        export_corpus(ExportConfig(), corpus, tmp_path)


def test_the_commands(corpus, tmp_path, capsys):
    assert main(["corpus", "info", str(corpus)]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["utterances"], about["bad_utterances"], about["shards_done"]) == (8, 1, 3)
    assert main(["corpus", "export", str(corpus), str(tmp_path / "out"), "-f", "jsonl", "-k", "1"]) == 0
    assert "7 utterances" in capsys.readouterr().err
    assert main(["corpus", "export", str(tmp_path), str(tmp_path / "more")]) == 1
    assert "codec: error: " in capsys.readouterr().err
