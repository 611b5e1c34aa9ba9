"""ministack, an AWS emulator, on a port of 127.0.0.1 that the system chooses.

Its CloudFormation lacks composite alarms, alarms on metric math and saved queries. Here they have handlers that keep the name and
nothing else, and refuse to create the one whose logical ID is in the file that the command line names.
"""

import asyncio
import os
import pathlib
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
endpoint = f"http://127.0.0.1:{port}"
# ministack reads both when it is imported. The functions that it runs inherit the second.
os.environ.update(GATEWAY_PORT=str(port), AWS_ENDPOINT_URL=endpoint)

from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack.app import app  # noqa: E402
from ministack.core.responses import get_account_id, get_region  # noqa: E402
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as handlers  # noqa: E402

refused = pathlib.Path(sys.argv[1])
METRIC_ALARM = "AWS::CloudWatch::Alarm"


def kept(kind: str, name_property: str) -> dict:
    def attributes(props: dict) -> tuple:
        name = props[name_property]
        return name, {"Arn": f"arn:aws:{kind}:{get_region()}:{get_account_id()}:{name}"}

    def create(logical_id: str, props: dict, stack: str) -> tuple:
        if logical_id == refused.read_text():
            raise ValueError(f"{logical_id} is refused")
        return attributes(props)

    return {
        "create": create,
        "update": lambda physical_id, old, new, stack: attributes(new),
        "delete": lambda physical_id, props: None,
    }


def alarms_with_metric_math(known: dict) -> dict:
    """ministack's own handlers, except for alarms on metric math."""
    math = kept("cloudwatch", "AlarmName")

    def of(props: dict) -> dict:
        return math if "Metrics" in props else known

    return {
        "create": lambda logical_id, props, stack: of(props)["create"](logical_id, props, stack),
        "update": lambda physical_id, old, new, stack: of(new)["update"](physical_id, old, new, stack),
        "delete": lambda physical_id, props: of(props)["delete"](physical_id, props),
    }


handlers["AWS::CloudWatch::CompositeAlarm"] = kept("cloudwatch", "AlarmName")
handlers["AWS::Logs::QueryDefinition"] = kept("logs", "Name")
handlers[METRIC_ALARM] = alarms_with_metric_math(handlers[METRIC_ALARM])

config = Config()
config.bind = [f"fd://{listener.detach()}"]
config.loglevel = "WARNING"
print(f"Running on {endpoint}", flush=True)
asyncio.run(serve(app, config))
