"""Several processes, on one machine or many, that run the missing cells of one grid; Optuna hands them out."""
