"""The orchestrators: design, check, scaffold, run, analyze. The only folder that sees workers and jobs together.

Each module plans first (pure as far as it can be) and acts second; printing is the business of `cli/`.
"""
