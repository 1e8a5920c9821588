# /// script
# requires-python = ">=3.11"
# dependencies = ["boto3"]
# ///
import sys

import boto3
from botocore.exceptions import ClientError

try:
    for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=sys.argv[1]):
        for one in page.get("Contents", []):
            print(one["Size"], one["Key"])
except ClientError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
