"""`python -m persona_affect`: the command line."""

from persona_affect.app.cli import main

if __name__ == "__main__":
    main()
