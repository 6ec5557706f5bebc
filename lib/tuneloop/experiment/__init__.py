"""The experiment: its design, the runs it expands into, their identity and where everything lies on disk.

Knows no tool and no scheduler. May import `documents` only.
"""
