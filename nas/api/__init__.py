"""The Python API: the same words as the command line, for scripts and notebooks.

What the user wrote wrong is raised as UserError; nothing in here ends the process.
"""

from ..export import Model, Prediction, load_model, predict
from ..models import build
from ..space import Architecture, Space, fill, load
from .run import Network, Run, open_run
from .searching import search
from .training import Training, train

__all__ = [
    "Architecture",
    "Model",
    "Network",
    "Prediction",
    "Run",
    "Space",
    "Training",
    "build",
    "fill",
    "load",
    "load_model",
    "open_run",
    "predict",
    "search",
    "train",
]
