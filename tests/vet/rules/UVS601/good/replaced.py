# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.hf-jobs]
# flavor = "cpu-basic"
# timeout = "10m"
# secrets = ["HF_TOKEN"]
# [tool.jobshelf]
# version = "0.1.0"
# title = "Dataset inspector"
# task = "data-validation"
# tags = ["dataset"]
# inputs = ["dataset"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# shardable = true
# license = "Apache-2.0"
# aliases = []
# status = "deprecated"
# replaced_by = "another-script"
# rehearse = ["{input}", "{output}"]
# ///
print("hello")
