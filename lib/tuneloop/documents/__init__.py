"""What people and code share: Markdown with a typed head, files, locks, errors, configuration.

Knows nothing of experiments. Nothing of ours is imported from here.
"""
