"""Jobs: what was asked for (the journal), what became of it (facts), and who runs it (executors).

Knows no tool: a job is a script with needs. May import `experiment` and `documents` only.
"""
