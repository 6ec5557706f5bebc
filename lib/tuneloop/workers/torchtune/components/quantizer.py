"""The quantizer of quantization-aware LoRA, in a form that torchtune 0.6.1 and newer torchao both understand."""

from typing import Any


def lora_quantizer(groupsize: int) -> Any:
    """Return torchao's Int8DynActInt4WeightQATQuantizer, whose configs are of the class that torchtune asks for.

    torchao renamed that class and kept the old name for a subclass; torchtune's recipe ends with an AssertionError
    before its first step when it is given the new one. The quantizer's own type stays: torchtune looks its mode up.
    """
    from torchao.quantization.qat.api import FakeQuantizeConfig
    from torchtune.training.quantization import Int8DynActInt4WeightQATQuantizer

    quantizer = Int8DynActInt4WeightQATQuantizer(groupsize=groupsize)
    for name in ("get_activation_fake_quantize_config", "get_weight_fake_quantize_config"):
        setattr(quantizer, name, _as_class(FakeQuantizeConfig, getattr(quantizer, name)))
    return quantizer


def _as_class(kind: type, made: Any) -> Any:
    def changed() -> Any:
        config = made()
        if not isinstance(config, kind):
            config.__class__ = kind
        return config

    return changed
