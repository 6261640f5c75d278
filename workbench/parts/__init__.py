"""The four kinds of part a method is composed of: selection, estimator, optimizer, storage."""

import logging

# bitsandbytes advises on optional kernels when peft imports it; nobody asked, and reports fail on stderr.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
