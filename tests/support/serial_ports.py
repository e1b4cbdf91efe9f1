"""Serial ports as pyserial lists them."""

from typing import Any

from serial.tools.list_ports_common import ListPortInfo


def listed_port(
    device: str, description: str = "", vid: int | None = None, pid: int | None = None, **more: Any
) -> ListPortInfo:
    """Make the entry of a port; ``more`` are other attributes of it, like ``location``."""
    port = ListPortInfo(device, skip_link_detection=True)
    for name, value in {"description": description, "vid": vid, "pid": pid, **more}.items():
        setattr(port, name, value)
    return port
