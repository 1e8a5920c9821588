# /// script
# requires-python = ">=3.11"
# dependencies = ["pyyaml", "jinja2"]
# [tool.uv]
# exclude-newer = "2026-01-01T00:00:00Z"
# ///
import sys
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader

values = yaml.safe_load(Path(sys.argv[2]).read_text())
template = Path(sys.argv[1])
print(Environment(loader=FileSystemLoader(template.parent)).get_template(template.name).render(values))
