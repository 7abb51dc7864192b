"""A run folder: the only place that reads and writes one. `runs/README.md` says what lies in it.

folder  the run and its files        lock   who may write in it
files   files that are whole or not there at all, and what to do when the disk is full
witness who says it when a search's process ends without a word
"""

from __future__ import annotations

from .files import CHECKPOINT as CHECKPOINT
from .files import PREVIOUS as PREVIOUS
from .files import Patience as Patience
from .files import checkpoint_fault as checkpoint_fault
from .files import enduring as enduring
from .files import file_limit as file_limit
from .files import free_space as free_space
from .files import is_full as is_full
from .files import leftovers as leftovers
from .files import patient as patient
from .files import settle as settle
from .files import write_all as write_all
from .files import write_bytes as write_bytes
from .files import write_checkpoint as write_checkpoint
from .files import write_text as write_text
from .folder import CANDIDATES as CANDIDATES
from .folder import LOST as LOST
from .folder import REQUIRED as REQUIRED
from .folder import STATE as STATE
from .folder import TRIAL_COLUMNS as TRIAL_COLUMNS
from .folder import Request as Request
from .folder import RunDir as RunDir
from .folder import Status as Status
from .folder import list_runs as list_runs
from .folder import to_yaml as to_yaml
from .lock import NAME as NAME
from .lock import abandoned as abandoned
from .witness import dismiss as dismiss
from .witness import witnessed as witnessed
