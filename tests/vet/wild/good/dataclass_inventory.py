# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import json
import sys
from dataclasses import asdict, dataclass, field


@dataclass(order=True)
class Item:
    price: float
    name: str = field(compare=False)


def load(text: str) -> list[Item]:
    return [Item(**one) for one in json.loads(text)]


print(json.dumps([asdict(item) for item in sorted(load(sys.stdin.read()))]))
