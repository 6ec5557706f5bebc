"""Adapters in the work environment: what peft needs before it loads one. Shared by the workers that do."""


def hide_old_torchao() -> None:
    """Let peft take a torchao that it finds too old for one that is not there.

    peft 0.19 and later refuse to load any adapter beside a torchao below 0.16, needed or not; torchtune 0.6.1 does
    not import beside a newer one. peft asks once and remembers the answer, so it is asked while torchao is hidden.
    """
    from unittest.mock import patch

    from peft import import_utils

    try:
        import_utils.is_torchao_available()
    except ImportError:
        hidden = import_utils.importlib_metadata.PackageNotFoundError("torchao")
        with patch.object(import_utils.importlib_metadata, "version", side_effect=hidden):
            import_utils.is_torchao_available()
