"""Components that generated configs name: torchtune imports them by their dotted path.

`tokenizer` and `order` need neither torch nor torchtune, so that verify reads data exactly as training does.
"""
