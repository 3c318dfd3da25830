"""The demo: two behaviours of the embedded organism, from texts to measured effect, and the page that tells it."""

from steering.demo.behaviours import HONESTY, WARMTH, Behaviour
from steering.demo.story import Story, run

__all__ = ["HONESTY", "WARMTH", "Behaviour", "Story", "run"]
