"""Whether a document's file is there, and is the one that was discovered."""

from __future__ import annotations

from mmrag.documents.stamps import FileDigests, Stamp
from mmrag.errors import SourceChangedError
from mmrag.types import Page, Source


class SourceCheck:
    """Checks of files, which are hashed again only where their stamp has changed; usable from any thread."""

    def __init__(self) -> None:
        """Start without a file."""
        self._digests = FileDigests()

    def check(self, source: Source, page: Page | None = None, *, is_fresh: bool = False) -> Stamp | None:
        """Refuse a file that is gone or has changed.

        Args:
            source: of the document.
            page: that is wanted, for messages.
            is_fresh: hash the file again though its stamp is as it was.

        Returns:
            The stamp by which workers know it again; None where they must hash it too.
        """
        if source.path is None:
            return None
        where = source.name if page is None else f"{source.name}, page {page.number + 1}"
        try:
            file = self._digests.look(source.path, is_fresh=is_fresh)
            if file.sha256 != source.sha256 and not is_fresh:
                file = self._digests.look(source.path, is_fresh=True)
        except OSError as error:
            raise SourceChangedError(
                f"{where}: {source.path} cannot be read any more ({error.strerror}). Add it again."
            ) from error
        if file.sha256 != source.sha256:
            raise SourceChangedError(f"{where}: the file at {source.path} has changed. Add it again.")
        return file.stamp if file.is_settled else None
