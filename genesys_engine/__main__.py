"""`python -m genesys_engine` is the command `genesys-engine`."""

import sys

from genesys_engine.engine.cli import main

sys.exit(main())
