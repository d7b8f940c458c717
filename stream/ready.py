"""Whether a program of Prometheus' family that runs beside us is ready."""

import http.client


def is_ready(address: str, timeout_s: float) -> bool:
    """Ask `host:port` for `/-/ready`; nobody there is a no."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
