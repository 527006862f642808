"""The subcommands of roadcue-train, one module each; `model_training.cli` imports a command when it is called."""
