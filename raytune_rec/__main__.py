"""`python -m raytune_rec`: the command `raytune-rec`."""

import sys

from raytune_rec.cli import main

sys.exit(main())
