"""The observing night as a timetable: one run per night, due at the noon that ends it.

The logical date of a run is 00:00 UTC of the night's date, so that ``airflow backfill create --from-date
2025-10-12 --to-date 2025-10-13`` names exactly the two nights an observer would name.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from airflow.utils.types import DagRunType
from pendulum import DateTime, instance

ONE_NIGHT = dt.timedelta(days=1)


class ObservingNightTimetable(Timetable):
    """Noon to noon at the site.

    Parameters
    ----------
    noon_utc_hour : int
        UT hour of the site's noon; a night named D ends at this hour of D (of the next day if before 12).
    """

    description = "Once per observing night, at the noon after it"

    def __init__(self, noon_utc_hour: int) -> None:
        self.noon_utc_hour = noon_utc_hour

    @property
    def summary(self) -> str:
        """What the UI shows in the schedule column."""
        return "observing night"

    def serialize(self) -> dict[str, Any]:
        """Return what the scheduler needs to rebuild it."""
        return {"noon_utc_hour": self.noon_utc_hour}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ObservingNightTimetable:
        """Rebuild it from `serialize`."""
        return cls(data["noon_utc_hour"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the night of this UT date: of the logical date where one was given, else of today."""
        return self._interval(run_after.in_timezone("UTC"))

    def generate_run_id(
        self,
        *,
        run_type: DagRunType,
        run_after: DateTime,
        data_interval: DataInterval | None,
        **extra: Any,
    ) -> str:
        """Name a scheduled run by its night; others, which may repeat a night, as Airflow does."""
        if run_type == DagRunType.SCHEDULED and data_interval is not None:
            return run_type.generate_run_id(suffix=f"night_{data_interval.start:%Y%m%d}")
        return super().generate_run_id(
            run_type=run_type, run_after=run_after, data_interval=data_interval, **extra
        )

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the night after the last one; without catch-up, not before the last complete one."""
        if last_automated_data_interval is not None:
            night = last_automated_data_interval.start.in_timezone("UTC") + ONE_NIGHT
        elif restriction.earliest is None:
            return None
        else:
            night = _ceil_to_midnight(restriction.earliest.in_timezone("UTC"))
        if not restriction.catchup:
            night = max(night, self._last_complete_night())
        if restriction.latest is not None and night > restriction.latest:
            return None
        interval = self._interval(night)
        return DagRunInfo(run_after=interval.end, data_interval=interval)

    def _interval(self, moment: DateTime) -> DataInterval:
        night = moment.start_of("day")
        return DataInterval(start=night, end=self._end(night))

    def _end(self, night: DateTime) -> DateTime:
        day = night if self.noon_utc_hour >= 12 else night + ONE_NIGHT
        return day.replace(hour=self.noon_utc_hour)

    def _last_complete_night(self) -> DateTime:
        now = instance(dt.datetime.now(dt.UTC))
        night = now.start_of("day")
        while self._end(night) > now:
            night -= ONE_NIGHT
        return night


def _ceil_to_midnight(moment: DateTime) -> DateTime:
    midnight = moment.start_of("day")
    return midnight if midnight == moment else midnight + ONE_NIGHT
