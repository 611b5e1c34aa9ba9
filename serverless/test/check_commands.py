"""Says which of the commands on standard input, [[service, operation, [option, ...]], ...], the AWS CLI does not know."""

import json
import sys

import botocore.session
from botocore import xform_name

# Options that every operation has, or every one with pages.
GENERAL = {"query", "output", "max-items"}

session = botocore.session.get_session()
for service, operation, options in json.load(sys.stdin):
    model = session.get_service_model({"s3api": "s3"}.get(service, service))  # The CLI's own `aws s3` is another.
    operations = {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}
    if operation not in operations:
        print(f"aws {service} {operation}: there is no such operation")
        continue
    shape = operations[operation].input_shape
    known = GENERAL | {xform_name(name, "-") for name in (shape.members if shape else {})}
    for option in options:
        if option not in known:
            print(f"aws {service} {operation}: there is no such option as --{option}")
