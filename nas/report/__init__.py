"""What people and programs read of a run, from its folder alone. No torch, no optuna."""
