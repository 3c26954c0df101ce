"""What runs from `start` to `close`, and for just a block as a context manager."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Running:
    """Something that is started and closed; closing it twice is no harm."""

    def start(self) -> None:
        """Start."""
        raise NotImplementedError

    def close(self) -> None:
        """End everything and remove every trace."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start; where that fails, nothing stays."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class Restartable(Running):
    """Something that may be started again once it is stopped, and that leaves nothing then."""

    def stop(self) -> None:
        """End what runs; what it knows stays for the next `start`."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop."""
        self.stop()
