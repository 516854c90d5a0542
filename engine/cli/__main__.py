"""`python -m genesys_engine.engine.cli`: the same as the command `genesys-engine`."""

import sys

from genesys_engine.engine.cli.app import main

sys.exit(main())
