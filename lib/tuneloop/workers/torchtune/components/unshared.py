"""A model whose state dict is a copy of its weights.

torchtune 0.6.1's distillation recipe merges the adapter into the state dict that it saves. On a GPU that dict is a
copy in main memory; on a CPU it would be the model that goes on training, with its adapter added a second time.
"""

from typing import Any


def unshared(builder: str, **arguments: Any) -> Any:
    """Return the model that the dotted path `builder` makes of the arguments, its state dict copied at each call."""
    from torchtune.config._utils import _get_component_from_path

    model = _get_component_from_path(builder)(**arguments)
    model.register_state_dict_post_hook(_copied)
    return model


def _copied(_module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    for name, weight in state.items():
        if name.startswith(prefix):
            state[name] = weight.clone()
