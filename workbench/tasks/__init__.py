"""Tasks by name: real data with seeded splits, a loss and a metric. Listing them needs no torch."""

from workbench.tasks.base import Metrics, Sizes, Task, TaskData, tasks

__all__ = ["Metrics", "Sizes", "Task", "TaskData", "tasks"]
