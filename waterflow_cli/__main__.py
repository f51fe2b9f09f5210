"""``python -m waterflow_cli`` is ``waterflow``."""

from waterflow_cli.main import main

if __name__ == "__main__":
    main()
