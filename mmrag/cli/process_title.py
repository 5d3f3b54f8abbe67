"""The arguments of this process as other processes see them (``ps``): without passwords.

On Linux the arguments are overwritten where the system reads them. Elsewhere, and in the moment before this
runs, they can be seen: a password stands better in the environment (``MMRAG_INDEX``, ``MMRAG_PDF_PASSWORD``,
``PGPASSWORD``).
"""

from __future__ import annotations

from pathlib import Path

from mmrag.masking import mask_arguments

_PROCESS = Path("/proc/self")
_START, _END = 47, 48
"""Fields of ``stat``, from 0: where the arguments begin and end in the memory of the process."""


def hide_secrets() -> None:
    """Hide secrets among the arguments of this process; where that cannot be done, leave them."""
    try:
        arguments = (_PROCESS / "cmdline").read_bytes().split(b"\0")[:-1]
        texts = [argument.decode("utf-8", "surrogateescape") for argument in arguments]
        masked_texts = mask_arguments(texts)
        if masked_texts == texts:
            return
        _overwrite(arguments, [text.encode("utf-8", "surrogateescape") for text in masked_texts])
    except (OSError, ValueError, IndexError):  # another system, or one that hides its processes
        return


def _overwrite(arguments: list[bytes], masked_arguments: list[bytes]) -> None:
    # the name of the program, which may have spaces and brackets, is the second field
    fields = (_PROCESS / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    start, end = (int(fields[number - 2]) for number in (_START, _END))
    content = b"".join(argument + b"\0" for argument in arguments)
    if not start or end - start != len(content):
        return
    new_content = b"".join(
        new_argument[: len(argument)].ljust(len(argument)) + b"\0"
        for argument, new_argument in zip(arguments, masked_arguments, strict=True)
    )
    with (_PROCESS / "mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        if memory.read(len(content)) == content:
            memory.seek(start)
            memory.write(new_content)
