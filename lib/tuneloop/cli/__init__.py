"""The command line: arguments in, text or JSON out, one thin module a command group.

Parse, plan, act, render. Only this folder and `hooks/` print, ask or exit.
"""
