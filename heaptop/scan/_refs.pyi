from heaptop.capture import FdLink
from heaptop.scan.refs import Ref, Refs

def refs(pid: int, links: tuple[FdLink, ...], texts: list[bytes], kind: type[Ref]) -> Refs: ...
