# Documented in _claim.pyx.
from heaptop_emulator._buddy import Buddy

def claim(buddy: Buddy, page: int, count_pages: int) -> bytes: ...
