"""Builder: a few verbs that write a Llama whose every weight is known.

    b = Builder(seed)
    b.feature("cue", "warm")                          # named unit directions, orthogonal unless told otherwise
    b.word("kind", cue=1.0, warm=1.0)                 # its embedding carries the features
    b.carry(0, "cue", {"warm": "warmth"})             # attention: later tokens get what the flagged token holds
    b.linear(1, "warmth", "kindness", gain=2.0)       # MLP: reads one feature, writes another
    b.readout("smiles", kindness=1.0, bias=-10.0)     # unembedding: logit per unit of the feature

How each part is exact. Every embedding holds the same amount of one direction that nothing else writes, the constant:
it gives MLP neurons their thresholds, queries their value, logits their bias, and the norms their scale. With
`norm="rms"` the amount is CONSTANT and the norms' weight CONSTANT/√d, so that what is read is h·s with

    s = CONSTANT / |h| ≈ 1 / √(1 + |x|²/CONSTANT²),      x = h without the constant,

within a few per cent of 1; thresholds are compared with the equally scaled constant and do not move. With `norm="none"`
the amount is 1 and the norms are the identity, bit for bit (`llama.EPSILON`): what is written is then exact up to
rounding. All other numbers are the same, and both are ordinary Llamas on disk.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lens.errors import ModelError, available
from lens.organisms.constructed import llama
from lens.organisms.constructed.llama import (
    HEAD,
    HEADS,
    LAYERS,
    NEURONS,
    ROPE_THETA,
    SPECIALS,
    STILL,
    WIDTH,
    Norm,
)

Reading = str | Mapping[str, float]

CONSTANT = 24.0
# Scores and gates this large leave less than float32 resolves of what they should exclude.
SHARP = 64.0
OPEN = 32.0
LEVER = 1024.0


class Builder:
    """Collects features, words and circuits; `build` writes them into a model.

    Directions are the columns of a random rotation, so that no feature is a coordinate. The last `HEAD` columns are
    kept for what words are beside their features (`word(..., identity=...)`).

    Raises ModelError at the verb that asks for something unknown, or for more than the model holds.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = torch.Generator().manual_seed(seed)
        square = torch.randn(WIDTH, WIDTH, generator=self._random, dtype=torch.float64)
        self._basis = torch.linalg.qr(square).Q
        self._features: dict[str, Float[Tensor, " d"]] = {}
        self._used = 0
        self._words: dict[str, Float[Tensor, " d"]] = {}
        self._unembed: dict[str, Float[Tensor, " d"]] = {}
        self._heads = [0] * LAYERS
        self._neurons = [0] * LAYERS
        zeros = torch.zeros(LAYERS, WIDTH, WIDTH, dtype=torch.float64)
        wide = torch.zeros(LAYERS, NEURONS, WIDTH, dtype=torch.float64)
        self._q, self._k, self._v, self._o = (zeros.clone() for _ in range(4))
        self._gate, self._up, self._down = wide.clone(), wide.clone(), wide.mT.clone()
        self.feature("constant", "start")
        for special in SPECIALS:
            self.word(special, start=1.0 if special == "<bos>" else 0.0)

    def feature(self, *names: str, near: Mapping[str, float] | None = None) -> None:
        """Name new unit directions. near: their cosine with earlier features, which must be orthogonal to each other;
        a new feature is orthogonal to all that is not near."""
        near = near or {}
        rest = 1.0 - sum(cosine**2 for cosine in near.values())
        if rest < 0:
            raise ModelError(f"No direction has the cosines {dict(near)}: their squares add up to more than 1.")
        for name in names:
            if name in self._features:
                raise ModelError(f"Feature {name!r} is named twice.")
            if self._used == WIDTH - HEAD:
                raise ModelError(f"Feature {name!r}: all {self._used} directions are taken.")
            own = self._basis[:, self._used]
            self._used += 1
            parts = [cosine * self.vector(other) for other, cosine in near.items()]
            self._features[name] = sum(parts, start=rest**0.5 * own)

    @property
    def words(self) -> tuple[str, ...]:
        """All words so far, without the special tokens."""
        return tuple(self._words)[len(SPECIALS) :]

    def vector(self, name: str) -> Float[Tensor, " d"]:
        """The unit direction of a feature, float64."""
        if name not in self._features:
            raise ModelError(f"No feature {name!r}; available: {available(self._features, 40)}.")
        return self._features[name]

    def word(self, *words: str, identity: float = 0.0, **features: float) -> None:
        """Add words whose embeddings hold these amounts of features, and `identity` of a random direction that is
        the word's own (in a subspace that no circuit reads but `mix`)."""
        for word in words:
            if word in self._words or not word or word.split() != [word]:
                raise ModelError(f"{word!r} is not a new word without spaces.")
            own = torch.randn(HEAD, generator=self._random, dtype=torch.float64)
            held = {"constant": 1.0, **features}
            self._words[word] = self._reading(held) + self._basis[:, -HEAD:] @ (identity * own / own.norm())

    def hold(self, word: str, **features: float) -> None:
        """Add these amounts of features to the embedding of a word that is there."""
        if word not in self._words:
            raise ModelError(f"No word {word!r} to hold more; available: {available(self._words, 40)}.")
        self._words[word] = self._words[word] + self._reading(features)

    def carry(self, layer: int, flag: str, moves: Mapping[str, str], *, sharp: float = SHARP) -> None:
        """An attention head: every token gets what the flagged token before it (or itself) holds.

            score = sharp · (flag + start/2):  all weight on tokens whose flag is 1 (equal shares), else on `<bos>`.

        moves: feature read there → feature written here, gain 1. Position plays no part. sharp: less makes the shares
        more equal (they differ by rounding of the score), and leaves more for unflagged tokens.
        """
        head = self._next(self._heads, layer, HEADS, "heads")
        if len(moves) > HEAD:
            raise ModelError(f"A head carries at most {HEAD} features; given: {len(moves)}.")
        start = head * HEAD
        self._q[layer, start + STILL] = HEAD**0.5 * sharp * self.vector("constant")
        self._k[layer, start + STILL] = self._reading({flag: 1.0, "start": 0.5})
        for channel, (read, write) in enumerate(moves.items(), start=start):
            self._v[layer, channel] = self.vector(read)
            self._o[layer, :, channel] = self.vector(write)

    def shift(self, layer: int, back: int, moves: Mapping[str, Reading]) -> None:
        """An attention head: every token gets what the token `back` places before it holds.

            score = LEVER · (cos(δ) + cos(δ/31.6) − 2),  δ = distance − back;      −LEVER/32 on `<bos>`

        from the two fastest pairs of RoPE: 0 at the token meant, below −LEVER/18 at others within the context. Where
        there is no such token, `<bos>` has all weight. moves: feature read there → feature (or weighted sum) written.
        """
        head = self._next(self._heads, layer, HEADS, "heads")
        if len(moves) > HEAD:
            raise ModelError(f"A head shifts at most {HEAD} features; given: {len(moves)}.")
        start = head * HEAD
        real = self._reading({"constant": 1.0, "start": -1.0})
        for pair in (0, 1):
            angle = torch.tensor(back * ROPE_THETA ** (-2 * pair / HEAD), dtype=torch.float64)
            turned = torch.stack([angle.cos(), -angle.sin()])
            for channel, part in zip((start + pair, start + pair + HEAD // 2), turned, strict=True):
                self._q[layer, channel] = HEAD**0.5 * LEVER * part * self.vector("constant")
            self._k[layer, start + pair] = real
        self._q[layer, start + STILL] = HEAD**0.5 * LEVER * self.vector("constant")
        self._k[layer, start + STILL] = -2 * real - self.vector("start") / 32
        for channel, (read, write) in enumerate(moves.items(), start=start):
            self._v[layer, channel] = self.vector(read)
            self._o[layer, :, channel] = self._reading(write)

    def mix(self, layer: int) -> None:
        """A head with uniform attention that averages the words' identities over the text: what the context is about,
        which differs by text and drives nothing."""
        rows = slice((head := self._next(self._heads, layer, HEADS, "heads")) * HEAD, (head + 1) * HEAD)
        self._v[layer, rows] = self._basis[:, -HEAD:].T
        self._o[layer, :, rows] = self._basis[:, -HEAD:]

    def linear(self, layer: int, read: Reading, write: str, *, gain: float = 1.0) -> None:
        """`write += gain · read`: a neuron whose gate is always open (silu(OPEN) = OPEN in float32)."""
        self.neuron(layer, {"constant": OPEN}, read, write, gain / OPEN)

    def ramp(self, layer: int, read: Reading, write: str, *, threshold: float, width: float, gain: float = 1.0) -> None:
        """`write += gain · clip((read − threshold)/width, 0, 1)`, from two neurons: silu(kx)/k ≈ relu(x).

        Exact away from the two knees; within .28/SHARP of `gain` near them.
        """
        sharp = SHARP / width
        for knee, sign in ((threshold, 1.0), (threshold + width, -1.0)):
            shifted = self._reading(read) - self._reading({"constant": knee})
            self.neuron(layer, sharp * shifted, "constant", write, sign * gain / (sharp * width))

    def product(self, layer: int, gate: Reading, read: Reading, write: str, *, gain: float = 1.0) -> None:
        """`write += gain · relu(gate) · read`, within .28/SHARP · gain · read for gates near 0."""
        self.neuron(layer, SHARP * self._reading(gate), read, write, gain / SHARP)

    def neuron(self, layer: int, gate: Reading | Tensor, read: Reading, write: str, gain: float) -> int:
        """`write += gain · silu(gate) · read`: one neuron, and its row in the block's MLP. gate: features, or the gate
        row itself."""
        number = self._next(self._neurons, layer, NEURONS, "neurons")
        self._gate[layer, number] = self._reading(gate)
        self._up[layer, number] = self._reading(read)
        self._down[layer, :, number] = gain * self.vector(write)
        return number

    def readout(self, word: str, *, bias: float = 0.0, **gains: float) -> None:
        """Add to the word's logit: `bias + Σ gain · feature`."""
        if word not in self._words:
            raise ModelError(f"No word {word!r} to read out; available: {available(self._words, 40)}.")
        row = self._reading({"constant": bias, **gains})
        self._unembed[word] = self._unembed.get(word, torch.zeros(WIDTH, dtype=torch.float64)) + row

    def build(self, norm: Norm = "rms") -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
        """The model (float32) and its tokenizer: one token per word, `<bos>` first."""
        tokenizer = llama.tokenizer(self._words)
        hf = LlamaForCausalLM(llama.config(len(self._words), norm)).eval()
        amount = CONSTANT if norm == "rms" else 1.0
        nothing = torch.zeros(WIDTH, dtype=torch.float64)
        written = {
            "model.embed_tokens": self._scaled(torch.stack(list(self._words.values())), amount),
            "lm_head": self._scaled(
                torch.stack([self._unembed.get(word, nothing) for word in self._words]), 1 / amount
            ),
        }
        for layer in range(LAYERS):
            attention, mlp = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
            reading = {f"{attention}.q_proj": self._q, f"{attention}.k_proj": self._k, f"{attention}.v_proj": self._v}
            reading |= {f"{mlp}.gate_proj": self._gate, f"{mlp}.up_proj": self._up}
            written |= {name: self._scaled(rows[layer], 1 / amount) for name, rows in reading.items()}
            written |= {f"{attention}.o_proj": self._o[layer], f"{mlp}.down_proj": self._down[layer]}
        llama.write(hf, written, llama.norm_weight(norm, amount))
        return hf, tokenizer

    def _scaled(self, rows: Float[Tensor, "n d"], factor: float) -> Float[Tensor, "n d"]:
        """The rows with `factor` times as much of the constant: where it is larger, it is read with less."""
        constant = self.vector("constant")
        return rows + (factor - 1) * torch.outer(rows @ constant, constant)

    def _reading(self, read: Reading | Tensor) -> Float[Tensor, " d"]:
        if isinstance(read, Tensor):
            return read
        weights = {read: 1.0} if isinstance(read, str) else read
        return sum((weight * self.vector(name) for name, weight in weights.items()), start=torch.zeros(()).double())

    def _next(self, counts: list[int], layer: int, limit: int, what: str) -> int:
        if not 0 <= layer < LAYERS:
            raise ModelError(f"No block {layer}; available: 0 to {LAYERS - 1}.")
        if counts[layer] == limit:
            raise ModelError(f"Block {layer}: all {limit} {what} are taken.")
        counts[layer] += 1
        return counts[layer] - 1
