"""The skills as a pack: what belongs to it, where it is active, what it costs a reader.

Knows Markdown and folders; nothing of experiments, workers or jobs.
"""
