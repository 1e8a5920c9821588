# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# Copyright 2020-2026 The HuggingFace Team. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
print("hello")
