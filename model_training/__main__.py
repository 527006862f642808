"""`python -m model_training` is `roadcue-train`, so that torchrun can start it: torchrun -m model_training train ..."""

from model_training.entry_point import main

main()
