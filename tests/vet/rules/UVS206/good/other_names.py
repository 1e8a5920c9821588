# /// script
# requires-python = ">=3.11"
# dependencies = ["openai-agents>=0.4,<0.5", "trl[peft]>=1,<2", "umap-learn>=0.5,<0.6"]
# ///
import agents
import peft
import trl
import umap

print(agents, peft, trl, umap)
