# block: rewards 1
"""What an answer of the model is rewarded for: named and weighed on the command line, judged, told in the card.

Promises: a reward is a pure function of the text, its tokens and its row's right answer; mathematics is compared as in the
block `answers`; a row without an answer is not judged; a training that could learn nothing is told so.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .answers import ANSWERS_LONGEST, final_answer, same_answer, tidy_answer
from .card import md_table
from .exits import note
from .train_job import TrainPlan

REWARDS = {
    "maths": "1 for an answer equal to the column `answer` as mathematics, else 0",
    "exact": "1 for an answer equal to the column `answer` as text, else 0",
    "format": "1 for <think>...</think><answer>...</answer> and nothing around it, else 0",
    "think": "1 for <think>...</think> and then an answer, else 0",
    "length": "0 down to -1, for what is too long (DAPO), or for the distance from --target-length",
    "regex": "1 where the pattern --regex is found, else 0",
}
REWARDS_COMPARED = ("maths", "exact")  # these need to know the right answer
REWARDS_OF_TRL = {
    "accuracy_reward": "maths",
    "reasoning_accuracy_reward": "maths",
    "think_format_reward": "think",
    "get_soft_overlong_punishment": "length",
}
REWARDS_OVERLONG = 0.2  # of the longest answer: where the length begins to cost
REWARDS_SHOWN_STEPS, REWARDS_SHOWN_CHARACTERS, REWARDS_FILE = 10, 400, "completions.json"


def weigh_rewards(words: Sequence[str], weights: Sequence[float] | None) -> dict[str, float]:
    """Return the weight of each reward that `words` name, as in `["maths", "format=0.2"]`. Raises ValueError."""
    if weights is not None and len(weights) != len(words):
        raise ValueError(f"{len(weights)} weights for {len(words)} rewards: --reward-weights needs one for each")
    found: dict[str, float] = {}
    for place, word in enumerate(words):
        given, equals, weight = word.partition("=")
        name = REWARDS_OF_TRL.get(given, given)
        if name not in REWARDS:
            close = difflib.get_close_matches(name, REWARDS, n=1)
            hint = f"; did you mean {close[0]}?" if close else " (functions of your own cannot be loaded)"
            raise ValueError(f"there is no reward {given!r}; there are {', '.join(REWARDS)}{hint}")
        if name in found:
            raise ValueError(f"the reward {name!r} is named twice")
        found[name] = _reward_weight(word, weight) if equals else weights[place] if weights else 1.0
        if not math.isfinite(found[name]) or not found[name]:
            raise ValueError(f"the weight of {name!r} is no number other than 0: write {name}=0.5")
    return found


def _reward_weight(word: str, weight: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise ValueError(f"{word!r} has no number for a weight: write NAME=0.5") from None


def make_reward(name: str, plan: TrainPlan) -> Callable[..., list[float | None]]:
    """Return the reward `name` as TRL calls it: with the answers of a batch, their tokens, and the columns of their rows."""
    options, longest = plan.options, plan.settings["max_completion_length"]

    def reward(completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any) -> list[float | None]:  # noqa: ANN401
        texts = [completion_text(one) for one in completions]
        if name in REWARDS_COMPARED:
            judge = judge_maths if name == "maths" else judge_exact
            right = columns["answer"]
            return [None if known is None else judge(text, known) for text, known in zip(texts, right, strict=True)]
        if name == "length":
            return [judge_length(len(tokens), longest, options["target_length"]) for tokens in completion_ids]
        if name == "regex":
            return [float(bool(re.search(options["regex"], text))) for text in texts]
        return [{"format": judge_format, "think": judge_think}[name](text) for text in texts]

    reward.__name__ = name  # TRL logs it as rewards/NAME/mean
    return reward


def completion_text(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """Return what the model said: the text, or the contents of its turns."""
    if isinstance(completion, str):
        return completion
    return "\n".join(str(turn.get("content") or "") for turn in completion)


def given_answer(text: str) -> str | None:
    """Return the final answer that a text gives: in <answer> tags, boxed, after "answer is" or ####, or its only line.

    What stands before </think> is no answer, and a text that never leaves its <think> gives none.
    """
    said = text.rpartition("</think>")[2]
    if "<think>" in said:
        return None
    tagged = re.findall(r"<answer>((?:(?!</?answer>).)*)</answer>", said, re.DOTALL)
    said = (tagged[-1] if tagged else said).rpartition("####")[2].strip()
    answer = final_answer(said) or (tidy_answer(said) if "\n" not in said else "")
    return answer if 0 < len(answer) <= ANSWERS_LONGEST else None


def judge_maths(text: str, right: str) -> float:
    """Return 1 when the answer in `text` is `right` as mathematics (1/2, 0.5 and \\frac{1}{2} are one), else 0."""
    given = given_answer(text)
    return float(given is not None and same_answer(given, right))


def judge_exact(text: str, right: str) -> float:
    """Return 1 when the answer in `text` is `right` as text, spaces and dollar signs apart, else 0."""
    return float(given_answer(text) == tidy_answer(right))


def judge_format(text: str) -> float:
    """Return 1 for one <think> part and one <answer> part and nothing around them, else 0."""
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    once = all(text.count(tag) == 1 for tag in tags)
    return float(once and bool(re.fullmatch(r"\s*<think>.*</think>\s*<answer>.*</answer>\s*", text, re.DOTALL)))


def judge_think(text: str) -> float:
    """Return 1 for one <think> part at the start, closed, and an answer after it, else 0."""
    thought, closed, said = text.strip().partition("</think>")
    return float(thought.startswith("<think>") and bool(closed) and bool(said.strip()) and text.count("<think>") == 1)


def judge_length(tokens: int, longest: int, target: int | None) -> float:
    """Return 0 for a length that is wanted, down to -1.

    With a `target`, the distance from it as a part of it (as in L1, https://arxiv.org/abs/2503.04697); without, the soft
    overlong punishment of DAPO (https://arxiv.org/abs/2503.14476, eq. 13) over the last REWARDS_OVERLONG of `longest`.
    """
    if target:
        return -min(1.0, abs(tokens - target) / target)
    free = longest * (1 - REWARDS_OVERLONG)
    return -min(1.0, max(0.0, tokens - free) / (longest - free))


def keep_completions(trainer: Any, plan: TrainPlan) -> None:  # noqa: ANN401 - TRL's GRPOTrainer
    """Write the answers of the last step to the work folder when the training ends."""
    from transformers import TrainerCallback

    class Keep(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
            kept = trainer._logs
            rewards = list(zip(*kept["rewards"].values(), strict=True))
            shown = list(zip(kept["prompt"], kept["completion"], rewards, strict=True))
            entries = [
                {"prompt": completion_text(prompt), "answer": completion_text(answer), "rewards": values}
                for prompt, answer, values in shown[-plan.options["num_completions_to_print"] :]
            ]
            if entries:
                (plan.work / REWARDS_FILE).write_text(json.dumps(entries), encoding="utf-8")

    trainer.add_callback(Keep())


def tell_silence(log: Sequence[Mapping[str, Any]]) -> None:
    """Say so when all answers to each prompt were rewarded alike throughout: nothing can be learned from that."""
    silent = [entry["frac_reward_zero_std"] for entry in log if entry.get("frac_reward_zero_std") is not None]
    if silent and min(silent) >= 1:
        note("all answers to each prompt had the same reward in every step: the model learned nothing")


def told_rewards(rewards: Mapping[str, float]) -> str:
    """Return the section of the card that says what was rewarded."""
    rows = [
        {"reward": name, "weight": f"{weight:g}", "what it gives": REWARDS[name]} for name, weight in rewards.items()
    ]
    return "## Rewards\n\n" + md_table(rows)


def told_steps(log: Sequence[Mapping[str, Any]], rewards: Mapping[str, float]) -> str:
    """Return the mean rewards of at most REWARDS_SHOWN_STEPS steps, the first and the last among them."""
    entries = [entry for entry in log if entry.get("reward") is not None]
    most = min(REWARDS_SHOWN_STEPS, len(entries))
    shown = [entries[round(number * (len(entries) - 1) / max(1, most - 1))] for number in range(most)]
    columns = {"mean reward": "reward", **{name: f"rewards/{name}/mean" for name in rewards}}
    columns |= {"mean tokens": "completions/mean_length", "cut off": "completions/clipped_ratio"}
    rows = [
        {"step": entry["step"], **{title: _reward_figure(entry.get(name)) for title, name in columns.items()}}
        for entry in shown
    ]
    return md_table(rows) if rows else ""


def _reward_figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def told_completions(plan: TrainPlan) -> list[str]:
    """Return the section with answers of the last step, none when they were not asked for."""
    file = plan.work / REWARDS_FILE
    if not plan.options["log_completions"] or not file.is_file():
        return []
    names = list(plan.options["rewards"])
    rows = [
        {"prompt": _reward_cut(entry["prompt"]), "answer": _reward_cut(entry["answer"])}
        | {name: _reward_figure(value) for name, value in zip(names, entry["rewards"], strict=True)}
        for entry in json.loads(file.read_text(encoding="utf-8"))
    ]
    file.unlink()
    return ["## Answers of the last step\n\n" + md_table(rows)]


def _reward_cut(text: str) -> str:
    return text if len(text) <= REWARDS_SHOWN_CHARACTERS else f"{text[:REWARDS_SHOWN_CHARACTERS]} ..."
