"""The simulator as the camera of a demonstration: it delivers in a thread of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from zsds_tasks.settings import Settings
from zsds_tasks.simulator.night import simulate_night
from zsds_tasks.survey.nights import ObservingNight

RESEND_PATIENCE_S = 120.0  # the camera sends a file again once the first copy has been taken in


@dataclass
class Camera:
    """The simulator in a thread of its own, and how far it is.

    Parameters
    ----------
    campaign : str
        Of the simulator's schedule.
    """

    campaign: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    failure: BaseException | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def start(self, settings: Settings, night: ObservingNight, seed: int, exposures: int | None) -> None:
        """Begin to deliver a night."""

        def play() -> None:
            started = time.monotonic()
            try:
                simulate_night(
                    settings,
                    night,
                    seed,
                    exposures=exposures,
                    campaign=self.campaign,
                    progress=self._advance,
                    patience_s=RESEND_PATIENCE_S,
                )
            except BaseException as error:  # noqa: BLE001 - carried over to the main thread and raised there
                self.failure = error
            self.seconds = time.monotonic() - started

        self.thread = threading.Thread(target=play, name="camera", daemon=True)
        self.thread.start()

    def _advance(self, done: int, total: int, _what: str) -> None:
        self.done, self.total = done, total

    @property
    def is_quiet(self) -> bool:
        """Whether all is delivered, or it failed."""
        return self.thread is not None and not self.thread.is_alive()

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self.failure is not None:
            raise self.failure
