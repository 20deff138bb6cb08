"""`python -m heaptop_emulator SCENARIO FD`: serve a scenario to who holds the other end of the socket FD."""

import argparse
import socket

from heaptop_emulator import linux, wire
from heaptop_emulator.actor import launch
from heaptop_emulator.framework import Framework
from heaptop_emulator.layout_text import parse_layout_file
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.scenarios import SCENARIOS, layout_of
from heaptop_emulator.server import Server, World


def main() -> None:
    """Fork the scenario's processes first, while this one has nothing that they must not have; then serve."""
    parser = argparse.ArgumentParser(prog="heaptop_emulator", description="A machine with dma-heaps in user space.")
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("socket", type=int, help="number of an inherited SOCK_SEQPACKET socket")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layout", type=parse_layout_file, help="the machine's, as TOML")
    options = parser.parse_args()
    control = socket.socket(fileno=options.socket)
    control.set_inheritable(False)
    actors = launch(SCENARIOS[options.scenario].roles, options.seed)
    linux.name_process("heaptop-emu")
    machine = Machine(options.layout or layout_of(options.scenario))
    framework = Framework(heaps_of(machine))
    world = World(machine, framework, options.scenario, options.seed)
    Server(world, actors, lambda: wire.send(control, wire.encode({}))).serve(control)


if __name__ == "__main__":
    main()
