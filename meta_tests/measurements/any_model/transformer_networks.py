"""Small networks of the transformers package, built from their configuration classes, with example inputs."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 99,
}
_EAGER: dict[str, Any] = {"attn_implementation": "eager"}


def _tokens(mask: bool = True) -> dict[str, Tensor]:
    ids = torch.randint(3, 99, (1, 12), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)} if mask else {"input_ids": ids}


def _built(network: str, config: str, **settings: Any) -> nn.Module:
    made = getattr(transformers, config)(**{**_SMALL, **settings})
    made._attn_implementation = "eager"
    module: nn.Module = getattr(transformers, network)(made)
    return module


def _encoder(network: str, config: str, **settings: Any) -> tuple[nn.Module, Any]:
    return _built(network, config, **settings), _tokens()


def _decoder(network: str, config: str, **settings: Any) -> tuple[nn.Module, Any]:
    return _built(network, config, use_cache=False, **settings), _tokens()


def _pictures(network: str, config: str, size: int = 32, **settings: Any) -> tuple[nn.Module, Any]:
    settings = {"image_size": size, "patch_size": 8, "num_labels": 5, **settings}
    return _built(network, config, **settings), _picture(size)


def _picture(size: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))}


def bert() -> Any:
    return _encoder("BertModel", "BertConfig")


def bert_classifier() -> Any:
    return _encoder("BertForSequenceClassification", "BertConfig", num_labels=3)


def bert_token_classifier() -> Any:
    return _encoder("BertForTokenClassification", "BertConfig", num_labels=4)


def distilbert() -> Any:
    return _encoder("DistilBertModel", "DistilBertConfig", dim=32, n_layers=2, n_heads=4, hidden_dim=64)


def roberta() -> Any:
    return _encoder("RobertaModel", "RobertaConfig")


def albert() -> Any:
    return _encoder("AlbertModel", "AlbertConfig", embedding_size=16)


def electra() -> Any:
    return _encoder("ElectraModel", "ElectraConfig", embedding_size=16)


def mpnet() -> Any:
    return _encoder("MPNetModel", "MPNetConfig")


def deberta_v2() -> Any:
    return _encoder("DebertaV2Model", "DebertaV2Config")


def layoutlm() -> Any:
    return _encoder("LayoutLMModel", "LayoutLMConfig")


def gpt2() -> Any:
    return _decoder("GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=4)


def gpt_neo() -> Any:
    return _decoder(
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
    )


def gpt_neox() -> Any:
    return _decoder("GPTNeoXForCausalLM", "GPTNeoXConfig")


def opt() -> Any:
    return _decoder("OPTForCausalLM", "OPTConfig", ffn_dim=64, word_embed_proj_dim=32)


def llama() -> Any:
    return _decoder("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2)


def mistral() -> Any:
    return _decoder("MistralForCausalLM", "MistralConfig", num_key_value_heads=2)


def qwen2() -> Any:
    return _decoder("Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=2)


def qwen3() -> Any:
    return _decoder("Qwen3ForCausalLM", "Qwen3Config", num_key_value_heads=2, head_dim=8)


def gemma() -> Any:
    return _decoder("GemmaForCausalLM", "GemmaConfig", num_key_value_heads=2, head_dim=8)


def phi() -> Any:
    return _decoder("PhiForCausalLM", "PhiConfig")


def t5_encoder() -> Any:
    return _encoder("T5EncoderModel", "T5Config", d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)


def t5() -> Any:
    network = _built(
        "T5ForConditionalGeneration", "T5Config", d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )
    network.config.use_cache = False
    return network, {**_tokens(), "decoder_input_ids": _tokens()["input_ids"][:, :5].clone()}


def bart() -> Any:
    sizes = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    }
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "use_cache": False}
    return _built("BartModel", "BartConfig", **sizes, **heads), _tokens()


def whisper_encoder() -> Any:
    network = _built(
        "WhisperModel",
        "WhisperConfig",
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=30,
        pad_token_id=0,
    )
    return network.encoder, (torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0)),)


def wav2vec2() -> Any:
    sizes = {
        "conv_dim": (16, 16),
        "conv_stride": (5, 2),
        "conv_kernel": (10, 3),
        "num_conv_pos_embeddings": 16,
    }
    network = _built("Wav2Vec2Model", "Wav2Vec2Config", num_conv_pos_embedding_groups=2, **sizes)
    return network, (torch.randn(1, 800, generator=torch.Generator().manual_seed(0)),)


def vit() -> Any:
    return _pictures("ViTForImageClassification", "ViTConfig")


def deit() -> Any:
    return _pictures("DeiTForImageClassification", "DeiTConfig")


def beit() -> Any:
    return _pictures("BeitForImageClassification", "BeitConfig")


def dinov2() -> Any:
    return _pictures("Dinov2Model", "Dinov2Config")


def swin() -> Any:
    sizes = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 32}
    config = transformers.SwinConfig(patch_size=4, num_labels=5, **sizes)
    return transformers.SwinForImageClassification(config), _picture(32)


def segformer() -> Any:
    config = transformers.SegformerConfig(hidden_sizes=[16, 16, 32, 32], decoder_hidden_size=16, num_labels=5)
    return transformers.SegformerForSemanticSegmentation(config), _picture(64)


def mobilevit() -> Any:
    config = transformers.MobileViTConfig(hidden_sizes=[16, 24, 32], image_size=64)
    return transformers.MobileViTModel(config), _picture(64)


def clip_vision() -> Any:
    return _pictures("CLIPVisionModel", "CLIPVisionConfig")


def clip_text() -> Any:
    return _encoder("CLIPTextModel", "CLIPTextConfig", bos_token_id=1, eos_token_id=98)
