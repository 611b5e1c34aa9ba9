"""Prints what the AWS CLI would not understand of the commands on standard input: [[service, operation, argument, ...], ...]."""

import json
import sys

import botocore.session
import jmespath
from botocore import xform_name

# Options of every operation, and of every operation with pages.
GENERAL = {"query", "output", "max-items"}

session = botocore.session.get_session()
for service, operation, *arguments in json.load(sys.stdin):
    model = session.get_service_model({"s3api": "s3"}.get(service, service))  # `aws s3` is a tool of the CLI's own.
    operations = {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}
    if operation == "wait":
        waiters = session.get_waiter_model(service)
        names = {xform_name(name, "-"): waiters.get_waiter(name).operation for name in waiters.waiter_names}
        operation = xform_name(names.get(arguments.pop(0), ""), "-")  # It takes the options of the operation that it repeats.
    if operation not in operations:
        print(f"aws {service} {operation}: there is no such operation")
        continue
    shape = operations[operation].input_shape
    known = GENERAL | {xform_name(name, "-") for name in (shape.members if shape else {})}
    for index, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        if argument[2:] not in known:
            print(f"aws {service} {operation}: there is no such option as {argument}")
        if argument == "--query":
            try:
                jmespath.compile(arguments[index + 1])
            except jmespath.exceptions.ParseError as error:
                print(f"aws {service} {operation} --query: {error}")
