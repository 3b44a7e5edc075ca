"""Run an installation on one machine: its services, the scheduler's API, the demonstration, the doctor."""
