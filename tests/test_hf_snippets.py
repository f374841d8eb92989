"""What programs do with Mimi and EnCodec, on our model: only the class or the path is another."""

import pytest
import torch
from conftest import make_tiny_model

transformers = pytest.importorskip("transformers")

import numpy as np
from transformers import AutoFeatureExtractor, AutoModel

import codec.hf  # noqa: F401


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snippets")
    make_tiny_model().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(path):
    return AutoModel.from_pretrained(path)


@pytest.fixture(scope="module")
def feature_extractor(path):
    return AutoFeatureExtractor.from_pretrained(path)


@pytest.fixture(scope="module")
def audio_sample():
    return np.random.default_rng(0).normal(0, 0.1, 5001).astype(np.float32)


def test_mimi_encode_and_decode(model, feature_extractor, audio_sample):
    inputs = feature_extractor(
        raw_audio=audio_sample, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt"
    )
    encoder_outputs = model.encode(inputs["input_values"])
    audio_values = model.decode(encoder_outputs.audio_codes)[0]
    outputs = model(**inputs)
    assert audio_values.shape == (1, 1, 16 * 320) and outputs.audio_values.shape == (1, 1, 5001)
    assert torch.equal(outputs.audio_codes, encoder_outputs.audio_codes)
    assert torch.equal(audio_values[..., :5001], outputs.audio_values)


def test_mimi_with_fewer_quantizers_and_tuples(model, feature_extractor, audio_sample):
    inputs = feature_extractor(raw_audio=audio_sample, sampling_rate=16_000, return_tensors="pt")
    codes = model.encode(**inputs, num_quantizers=4).audio_codes
    assert codes.shape == (1, 4, 16)
    assert torch.equal(codes, model.encode(inputs["input_values"], inputs["padding_mask"], 8)[0][:, :4])
    wav = model.decode(codes, inputs["padding_mask"], return_dict=False)[0]
    assert wav[0, 0].shape == (5001,)


def test_encodec_encode_and_decode(model, feature_extractor, audio_sample):
    inputs = feature_extractor(raw_audio=audio_sample, sampling_rate=16_000, return_tensors="pt")
    encoder_outputs = model.encode(inputs["input_values"], inputs["padding_mask"], bandwidth=2.0)
    audio_values = model.decode(
        encoder_outputs.audio_codes, encoder_outputs.audio_scales, inputs["padding_mask"]
    )[0]
    assert encoder_outputs.audio_codes.shape[1] == 4 and audio_values.shape == (1, 1, 5001)
    named = model.decode(
        encoder_outputs.audio_codes,
        encoder_outputs.audio_scales,
        padding_mask=inputs["padding_mask"],
        last_frame_pad_length=encoder_outputs.last_frame_pad_length,
    )
    assert torch.equal(named.audio_values, audio_values)
    assert model(inputs["input_values"], inputs["padding_mask"]).audio_values.shape == (1, 1, 5001)


def test_a_padded_batch(model, feature_extractor, audio_sample):
    clips = [audio_sample, audio_sample[:1000], audio_sample[:321]]
    inputs = feature_extractor(raw_audio=clips, padding=True, sampling_rate=16_000, return_tensors="pt")
    outputs = model.encode(inputs["input_values"], inputs["padding_mask"])
    lengths = model.get_encoded_length(inputs["padding_mask"].sum(dim=-1))
    for row, clip in enumerate(clips):
        alone = model.encode(torch.from_numpy(clip)[None, None]).audio_codes
        assert torch.equal(outputs.audio_codes[row, :, : lengths[row]], alone[0])


def csm_config(path):
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    return transformers.CsmConfig(
        num_codebooks=8,
        vocab_size=1025,
        text_vocab_size=40,
        audio_token_id=30,
        audio_eos_token_id=31,
        codebook_eos_token_id=0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        depth_decoder_config={"backbone_hidden_size": 16, "vocab_size": 1025, "num_codebooks": 8, **small},
        codec_config=transformers.AutoConfig.from_pretrained(path).to_dict(),
        **small,
    )


def test_a_training_step_of_csm_built_from_a_config(path, audio_sample, tmp_path):
    torch.manual_seed(0)
    lm = transformers.CsmForConditionalGeneration(csm_config(path))
    lm.codec_model.load_state_dict(AutoModel.from_pretrained(path).state_dict())
    frames = int(lm.codec_model.get_encoded_length(torch.tensor(5001)))
    input_ids = torch.tensor([[1, *[30] * frames, 31]])
    batch = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "input_values": torch.from_numpy(audio_sample)[None, None],
        "input_values_cutoffs": torch.tensor([[5001]]),
        "labels": input_ids.clone(),
    }
    optimizer = torch.optim.SGD([p for p in lm.parameters() if p.requires_grad], lr=0.1)
    before = lm(**batch).loss
    before.backward()
    assert all(parameter.grad is None for parameter in lm.codec_model.parameters())
    optimizer.step()
    assert lm(**batch).loss < before
    codes = lm.codec_model.encode(batch["input_values"]).audio_codes
    lm.save_pretrained(tmp_path)
    again = transformers.CsmForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(again.codec_model.encode(batch["input_values"]).audio_codes, codes)


class SpeechProcessor:
    """The loop of processors that own a codec: audio to strings of tokens and back."""

    def __init__(self, path):
        self.feature_extractor = AutoFeatureExtractor.from_pretrained(path)
        self.audio_tokenizer = AutoModel.from_pretrained(path).eval()

    def __call__(self, audio):
        inputs = self.feature_extractor(raw_audio=audio, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            codes = self.audio_tokenizer.encode(**inputs).audio_codes
        lengths = self.audio_tokenizer.get_encoded_length(inputs["padding_mask"].sum(dim=-1))
        return [row[:, :length].T.flatten() for row, length in zip(codes, lengths, strict=True)]

    def batch_decode(self, ids):
        count = self.audio_tokenizer.config.num_quantizers
        return [self.audio_tokenizer.decode(row.view(-1, count).T[None]).audio_values[0, 0] for row in ids]


def test_a_processor_loop(path, audio_sample):
    processor = SpeechProcessor(path)
    ids = processor([audio_sample, audio_sample[:700]])
    assert [len(row) for row in ids] == [16 * 8, 3 * 8]
    assert [len(wav) for wav in processor.batch_decode(ids)] == [16 * 320, 3 * 320]


def test_datasets_map(model, feature_extractor, audio_sample):
    datasets = pytest.importorskip("datasets")
    clips = [audio_sample[:n].tolist() for n in (1000, 321, 640, 2000, 700)]
    rows = datasets.Dataset.from_dict({"array": clips})

    def tokenize(batch):
        arrays = [np.asarray(clip, np.float32) for clip in batch["array"]]
        inputs = feature_extractor(raw_audio=arrays, sampling_rate=16_000, return_tensors="pt")
        outputs = model.encode(**inputs)
        lengths = outputs.audio_codes_mask.sum(dim=-1)
        codes = zip(outputs.audio_codes, lengths, strict=True)
        return {"codes": [row[:, :length].tolist() for row, length in codes]}

    together = rows.map(tokenize, batched=True, batch_size=5, remove_columns="array")
    alone = rows.map(tokenize, batched=True, batch_size=1, remove_columns="array")
    assert together["codes"][:] == alone["codes"][:]
    assert [len(codes[0]) for codes in together["codes"]] == [4, 2, 2, 7, 3]
