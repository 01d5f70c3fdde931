"""The command line, as ``python -m persona_affect``: for ``torchrun -m persona_affect train``."""

from persona_affect.app.cli import main

main()
