"""A probe's reading of the steered model."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.collect import collect
from lens.errors import SiteError
from lens.examples import Examples
from probes.direction import Direction
from steering.measures.base import Measure, Outcome, responses


def probe_score(
    direction: Direction, *, span: str = "prompt[-1]", response: str | None = None, name: str | None = None
) -> Measure:
    """Projection on a direction at its own site, as the steered model passes.

        mean over the tokens of the span of v · h,     in the residual stream's own units

    At a site that is steered along u by strength · unit this moves by strength · unit · v·u; before that site, not at
    all. response: the column whose text follows the prompt, for spans that reach into it.

    Raises ArtifactError: a direction of another model. SiteError: a site inside a block that only the bridge reads,
    which runs apart from what is steered.
    """
    if direction.site.in_bridge:
        raise SiteError(f"{direction.site} is read through the bridge, which runs apart from what is steered.")

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        direction.check_model(outcome.model, other_model=outcome.other_model)
        table = pd.DataFrame({"prompt": outcome.prompts, "group": range(len(outcome.rows))})
        if response is not None:
            table["response"] = responses(outcome.rows, response)
        with outcome.steered():
            acts = collect(outcome.model, Examples(table), sites=[direction.site], span=span, progress=False)
        return direction.project(acts[direction.site]).double().numpy()

    label = name or f"projection on {direction.provenance.method} at {direction.site}"
    return Measure(label, "model", value, response=response, given={"direction": direction.hash(), "span": span})
