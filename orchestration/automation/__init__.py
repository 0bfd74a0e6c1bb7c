"""When things are made without being asked: conditions, sensors, schedules, jobs and alerts."""
