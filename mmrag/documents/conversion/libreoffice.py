"""LibreOffice as a printer: an office file in, a PDF (of a workbook an ODS) out, in a process of its own.

Decisions taken here:

* Every file has its own LibreOffice with its own profile in a folder that is deleted afterwards, so that
  several run at once and nothing of one file stays for the next.
* The process group has limits of memory, processor time and file size, and is killed as a whole when its time
  on the clock is up.
* The profile turns macros and links off. Where the platform allows it (Linux, user namespaces) the process
  has no network at all; elsewhere its proxy is a closed port.
* What LibreOffice cannot print is an error, not a reason to read the file in another way unasked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from mmrag.errors import DocumentError
from mmrag.masking import without_secrets

VARIABLE = "MMRAG_SOFFICE"
"""Environment variable with the path of ``soffice``; empty: LibreOffice is not used."""

_USUAL_PATHS = (
    "/Applications/LibreOffice.app/Contents/MacOS/soffice",
    "C:\\Program Files\\LibreOffice\\program\\soffice.exe",
)
FILTERS = {
    "docx": ("pdf:writer_pdf_Export", "pdf"),
    "odt": ("pdf:writer_pdf_Export", "pdf"),
    "pptx": ("pdf:impress_pdf_Export", "pdf"),
    "odp": ("pdf:impress_pdf_Export", "pdf"),
    "xlsx": ("ods:calc8", "ods"),
}
"""LibreOffice's filter and the suffix of what it writes, by kind."""

PATIENCE = 2.0
"""Times the limit of processor time that the process may take on the clock."""

MOST_OUTPUT = 1 << 30
"""Bytes of a file that it writes."""

_OPTIONS = (
    "--headless",
    "--invisible",
    "--nologo",
    "--nodefault",
    "--norestore",
    "--nolockcheck",
    "--nofirststartwizard",
)

_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
{items}
</oor:items>
"""
_SETTINGS = (
    ("Common/Security/Scripting", "MacroSecurityLevel", "3"),
    ("Common/Security/Scripting", "DisableMacrosExecution", "true"),
    ("Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),
    ("Common/Security/Scripting", "DisableActiveContent", "true"),
    ("Calc/Content/Update", "Link", "2"),
    ("Writer/Content/Update", "Link", "2"),
    ("Common/Save/Document", "CreateBackup", "false"),
    ("Common/Misc", "FirstRun", "false"),
)
_PROXY = (
    ("ooInetProxyType", "2"),
    ("ooInetHTTPProxyName", "127.0.0.1"),
    ("ooInetHTTPProxyPort", "9"),
    ("ooInetHTTPSProxyName", "127.0.0.1"),
    ("ooInetHTTPSProxyPort", "9"),
)

# Runs in a Python of its own before LibreOffice takes its place: limits, and no network where it can.
# A `preexec_fn` would run in a copy of this process, whose other threads may hold locks.
_LAUNCHER = """
import os, sys
memory, seconds, size = map(int, sys.argv[1:4])
try:
    import resource
    for kind, limit in (("AS", memory), ("CPU", seconds), ("FSIZE", size)):
        kind = getattr(resource, "RLIMIT_" + kind)
        hard = resource.getrlimit(kind)[1]
        if limit:
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, AttributeError, ValueError, OSError):
    pass
try:
    import ctypes
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x40000000) == 0:  # NEWUSER, NEWNET
        lines = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for path, line in lines.items():
            with open(f"/proc/self/{path}", "w") as file:
                file.write(line)
except (ImportError, AttributeError, OSError):
    pass
os.execv(sys.argv[4], sys.argv[4:])
"""


def find() -> str | None:
    """Return the path of ``soffice``; None where it is not installed, or `VARIABLE` is empty."""
    name = os.environ.get(VARIABLE)
    if name is not None:
        return shutil.which(name) if name else None
    path = shutil.which("soffice") or shutil.which("libreoffice")
    return path or next((usual for usual in _USUAL_PATHS if Path(usual).is_file()), None)


class LibreOffice:
    """Prints office files; usable from any thread.

    Args:
        path: of ``soffice``.
        seconds: processor time that a file may take.
        memory_mb: address space of its process in MiB; 0 for no limit.
    """

    def __init__(self, path: str, *, seconds: float, memory_mb: int) -> None:
        self._path = path
        self._seconds = seconds
        self._memory_mb = memory_mb

    def print(self, data: bytes, kind: str, name: str) -> bytes:
        """Print a file.

        Args:
            data: the whole file, checked (`mmrag.documents.conversion.zip_safety`).
            kind: one of `FILTERS`.
            name: the file's name, for messages.

        Returns:
            A PDF, of a workbook an ODS.

        Raises:
            DocumentError: LibreOffice cannot read it, or breaks a limit.
        """
        export, suffix = FILTERS[kind]
        with tempfile.TemporaryDirectory(prefix="mmrag-office-", ignore_cleanup_errors=True) as folder:
            work = Path(folder)
            (work / "out").mkdir()
            source = work / f"document.{kind}"
            source.write_bytes(data)
            _write_profile(work / "profile")
            words = self._run(work, export, source, name)
            result = work / "out" / f"document.{suffix}"
            if not result.is_file() or not result.stat().st_size:
                reason = f" ({words})" if words else ""
                raise DocumentError(f"{name}: LibreOffice cannot convert it{reason}.")
            return result.read_bytes()

    def _run(self, work: Path, export: str, source: Path, name: str) -> str:
        """Run LibreOffice on a file; return its last words."""
        command = [self._path, f"-env:UserInstallation={(work / 'profile').as_uri()}", *_OPTIONS]
        command += ["--convert-to", export, "--outdir", str(work / "out"), str(source)]
        if os.name == "posix":
            limits = (self._memory_mb << 20, max(1, round(self._seconds)), MOST_OUTPUT)
            command = [sys.executable, "-I", "-c", _LAUNCHER, *map(str, limits), *command]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=work,
            env=_environment(work),
            start_new_session=True,  # a group of its own, which is killed as a whole
        )
        try:
            _, words = process.communicate(timeout=PATIENCE * self._seconds)
        except subprocess.TimeoutExpired as error:
            raise DocumentError(
                f"{name}: LibreOffice took more than {PATIENCE * self._seconds:g} s (office_seconds)."
            ) from error
        finally:
            _kill_group(process)
        lines = [line for line in words.decode(errors="replace").splitlines() if "javaldx" not in line]
        return lines[-1].strip()[:200] if lines else ""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, also those that it has left behind."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # they have all ended
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _environment(work: Path) -> dict[str, str]:
    """Return an environment without keys, with a home that is thrown away and a proxy that is closed."""
    closed_proxy = dict.fromkeys(
        ("http_proxy", "https_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
    )
    folders = {"HOME": str(work), "TMPDIR": str(work), "SAL_USE_VCLPLUGIN": "svp", "LC_ALL": "C.UTF-8"}
    return {**without_secrets(os.environ), **closed_proxy, **folders}


def _write_profile(folder: Path) -> None:
    """Write the profile's settings: no macros, no links, no network."""
    values = [(f"/org.openoffice.Office.{path}", name, value) for path, name, value in _SETTINGS]
    values += [("/org.openoffice.Inet/Settings", name, value) for name, value in _PROXY]
    items = "\n".join(
        f'<item oor:path="{path}"><prop oor:name="{name}" oor:op="fuse"><value>{value}</value></prop></item>'
        for path, name, value in values
    )
    (folder / "user").mkdir(parents=True)
    (folder / "user" / "registrymodifications.xcu").write_text(_PROFILE.format(items=items), encoding="utf-8")
