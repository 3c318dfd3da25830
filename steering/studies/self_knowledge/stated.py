"""Stated: what a model says of answers and of its own confidence: P(True), and a number from 0 to 100.

    P(True) = p("True") / (p("True") + p("False"))        asked whether a given answer is right
    confidence = Σ_n (n / 100) p(n),      p over the numbers that may be answered

Source: Kadavath et al., Language Models (Mostly) Know What They Know (2022), §3; Lin et al., Teaching Models to Express
Their Uncertainty in Words (2022).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.errors import DataError
from lens.examples import Prompt
from lens.model import Model
from steering.studies.ask import Answers, ask
from steering.studies.self_knowledge.questions import Questions

VERDICTS = ("True", "False")
NUMBERS = tuple(range(0, 101, 10))
CONFIDENCE = "How sure are you that you know the answer? Reply with one number from 0 (a guess) to 100 (certain)."


def judged_prompt(prompt: Prompt, answer: str, shots: Sequence[tuple[Prompt, str, bool]] = ()) -> Prompt:
    """A question with a proposed answer, asked whether it is true; shots: others, with what was true of them."""
    if isinstance(prompt, str):
        said = [f"{_proposal(one, given)} {VERDICTS[not true]}\n\n" for one, given, true in shots]
        return "".join([*said, _proposal(prompt, answer)])
    turns = []
    for one, given, true in shots:
        turns += [{"role": "user", "content": _proposal(one, given)}, _assistant(VERDICTS[not true])]
    return [*turns, {"role": "user", "content": _proposal(prompt, answer)}]


def _proposal(prompt: Prompt, answer: str) -> str:
    question = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    return f"Question: {question}\nProposed answer: {answer}\nIs the proposed answer True or False? Verdict:"


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def p_true(
    model: Model, questions: Questions, *, shots: int = 0, seed: int = 0, progress: bool = True
) -> tuple[pd.DataFrame, Answers]:
    """P(True) of every question's right answer and of one wrong one: columns question, right (0/1), p_true, mass.

    shots: so many questions of other groups come before, half of them with a wrong answer. Raises DataError: fewer
    other questions than shots; a prompt that grows longer than the context.
    """
    prompts, table = verdict_prompts(questions, shots=shots, seed=seed)
    found = ask(model, prompts, _spelled(prompts[0], VERDICTS), label="Asking P(True)", progress=progress)
    return table.assign(p_true=found.share[:, 0], mass=found.mass), found


def verdict_prompts(questions: Questions, *, shots: int, seed: int) -> tuple[list[Prompt], pd.DataFrame]:
    """Two prompts for every question, with the right answer and with a wrong one; and which is which."""
    rng = np.random.default_rng(seed)
    groups, prompts, rows = questions.groups.astype(str), [], []
    for number, (prompt, few) in enumerate(zip(questions.prompts, questions.answers, strict=True)):
        others = np.flatnonzero(groups != groups[number])
        if len(others) < shots:
            raise DataError(
                f"Row {number}: {shots} shots need as many questions of other groups; there are {len(others)}."
            )
        before = [_shot(questions, int(one), k % 2 == 0) for k, one in enumerate(rng.permutation(others)[:shots])]
        for right, answer in ((1, few[0]), (0, few[1 + int(rng.integers(len(few) - 1))])):
            prompts.append(judged_prompt(prompt, answer, before))
            rows.append({"question": number, "right": right, "answer": answer})
    return prompts, pd.DataFrame(rows)


def _shot(questions: Questions, number: int, true: bool) -> tuple[Prompt, str, bool]:
    return questions.prompts[number], questions.answers[number][0 if true else 1], true


def verbalised(
    model: Model, prompts: Sequence[Prompt], *, progress: bool = True
) -> tuple[Float[np.ndarray, " n"], Answers]:
    """The confidence that is said as a number: its expected value over 0, 10, … 100, from 0 to 1."""
    asked = [
        f"{one}\n{CONFIDENCE}\nConfidence:"
        if isinstance(one, str)
        else [*one[:-1], {**one[-1], "content": f"{one[-1]['content']}\n\n{CONFIDENCE}"}]
        for one in prompts
    ]
    numbers = _spelled(asked[0], [str(number) for number in NUMBERS])
    found = ask(model, asked, numbers, label="Asking for a number", progress=progress)
    return found.share @ (np.array(NUMBERS) / 100), found


def _spelled(prompt: Prompt, options: Sequence[str]) -> list[str]:
    """As they follow the prompt: after a text that ends in a colon, with a space."""
    return [f" {one}" for one in options] if isinstance(prompt, str) else list(options)
