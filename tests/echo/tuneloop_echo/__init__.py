"""echo: two workers for tests. `training` makes checkpoints, `evaluating` scores them.

The steps of their scripts (`steps.py`) need the standard library and a little of Tuneloop, and start in about 40 ms.
"""
