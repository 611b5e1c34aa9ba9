"""Puts the alarms on standard input into CloudWatch, and prints the names of those that exist afterwards.

botocore checks each against the API's model. moto's server accepts metric alarms; it does not have PutCompositeAlarm.
"""

import json
import sys

import boto3
from botocore.validate import validate_parameters

cloudwatch = boto3.client("cloudwatch", endpoint_url=sys.argv[1], region_name="eu-central-1")
composite = cloudwatch.meta.service_model.operation_model("PutCompositeAlarm").input_shape
for alarm in json.load(sys.stdin):
    if alarm["Type"] == "AWS::CloudWatch::CompositeAlarm":
        validate_parameters(alarm["Properties"], composite)
    else:
        cloudwatch.put_metric_alarm(**alarm["Properties"])

pages = cloudwatch.get_paginator("describe_alarms").paginate()
print(json.dumps([alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]]))
