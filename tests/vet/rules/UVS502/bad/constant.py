from vllm import LLM

MODEL = "org/model"
llm = LLM(model=MODEL)
