"""Organism: what is asked of the constructed organisms that notice, name, or only say yes."""

from typing import Any

from steering.studies.injected_thoughts.questions import By, Questions

# Words of their world that stand for nothing in particular.
OTHERS = ("some", "basket", "river", "mirror", "garden", "kettle", "tower", "candle")


def of_organism(name: str = "thought-detector", *, by: By = "text") -> dict[str, Any]:
    """Options of `run` for `lens.load("organism:thought-…")`: questions in the form that they answer, and concepts.

    They answer with one or two words and have no chat template. Their replies to a scene are greedy: another round is
    another scene.
    """
    from lens.organisms import constructed

    built = constructed.build(name.removeprefix("organism:"))
    rows = built.examples.frame
    calm = rows[rows["concept"] == "none"].drop_duplicates("prompt")
    ask = {kind: calm[calm["ask"] == kind]["prompt"].tolist() for kind in ("notice", "name", "agree")}
    asked = Questions(
        trial=ask["notice"],
        which=ask["name"],
        unrelated=ask["agree"],
        by=by,
        # Long enough for a loop to be seen as one.
        max_new_tokens=8,
        tell="the mirror near the tower , think of {word} , notice ?",
    )
    return {
        "asked": asked,
        "concepts": list(built.truth.structure["concepts"]),
        "baseline": OTHERS,
        "sites": list(dict.fromkeys(one["site"] for one in built.truth.structure["trials"])),
        "strengths": (1.0, 1.5, 2.0, 2.5, 3.0),
        "trials": 96,
        "temperature": 0.0,
    }
