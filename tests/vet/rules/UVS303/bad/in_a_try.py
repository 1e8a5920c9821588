try:
    from vllm import LLM
except ImportError:
    LLM = None
