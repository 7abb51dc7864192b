"""Training of one network: recipe, loop, schedules, explosion guard, early stopping, evaluation.

Handed a model and arrays, it imports neither `models` nor `data`. This file stays empty of
imports: `nas.train.recipe` is read by every command, torch is not.
"""
