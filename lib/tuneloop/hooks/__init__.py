"""What Claude Code calls by itself: `guard` before a shell command, `session` when a session begins.

Standard library only, and no syntax newer than Python 3.9: `hooks/launch` starts them with whatever Python a machine
has, also where the library is not installed. They read JSON on stdin and print JSON, or nothing.
"""
