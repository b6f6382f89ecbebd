"""python -m steersman.cli"""

import sys

from steersman.cli import main

sys.exit(main())
