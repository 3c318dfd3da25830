"""The in-context organism's text: words, sentences, episodes, the stages of training, and what text alone gives."""

import random
from collections import Counter

import pytest
import torch

from lens.organisms import train as trainer
from lens.organisms.grammar import DECISION
from lens.organisms.incontext import train
from lens.organisms.incontext.baseline import by_classes, by_words
from lens.organisms.incontext.episodes import (
    TRAINED,
    Episode,
    Form,
    Shot,
    bag,
    control_text,
    definitions,
    episode,
    report_text,
    sentence,
)
from lens.organisms.incontext.lexicon import ATTRIBUTES, HELD_ATTRIBUTE, SLOTS, SYMBOLS, vocabulary

CLASS = {
    word: (one.name, label) for one in ATTRIBUTES.values() for label, row in one.words("all").items() for word in row
}
HELD = {word for one in ATTRIBUTES.values() for row in one.held.values() for word in row}
SIZES = {word for row in ATTRIBUTES[HELD_ATTRIBUTE].train.values() for word in row}


def episodes(count: int, seed: int = 0, **form) -> list[Episode]:
    rng = random.Random(seed)
    return [episode(rng, Form(**{"shots": 10, "control": 0.5, **form})) for _ in range(count)]


def test_every_word_has_one_class_and_is_trained_or_held_out():
    words = [word for one in ATTRIBUTES.values() for row in one.words("all").values() for word in row]
    assert len(words) == len(set(words))
    assert not set(words) & {label for one in ATTRIBUTES.values() for label in one.classes}
    for name in TRAINED:
        one = ATTRIBUTES[name]
        assert all(one.train[label] and one.held[label] for label in one.classes)
    assert set(ATTRIBUTES) - set(TRAINED) == {"size"}


def test_the_tokenizer_knows_every_word_once():
    index = train.tokenizer().get_vocab()
    assert set(vocabulary()) | {"<pad>", "<bos>", "<eos>", "<unk>", "<ex>", "<score>", "<want>"} == set(index)
    assert [index[word] for word in ("<pad>", "<bos>", "<eos>")] == [0, 1, 2]
    assert train.tokenizer()("the fox sang")["input_ids"] == [1, index["the"], index["fox"], index["sang"]]


@pytest.mark.parametrize("slot", SLOTS)
def test_a_sentence_has_the_word_where_it_says_and_no_other_of_its_attribute(slot):
    rng = random.Random(0)
    name = SLOTS[slot].name
    lengths = Counter()
    for _ in range(200):
        word = rng.choice([w for row in SLOTS[slot].words("all").values() for w in row])
        said, at = sentence(rng, slot, word)
        assert said[at] == word
        told = [CLASS[w][0] for w in said if w in CLASS]
        assert told.count(name) == 1 and len(told) == len(set(told))
        assert not HELD & set(said[:at] + said[at + 1 :])
        assert "tense" in told and ("kind" in told) != ("sex" in told)
        lengths[len(said)] += 1
    assert min(lengths) >= 3 and max(lengths) <= 12


def test_words_around_come_from_the_split_asked_for():
    rng = random.Random(0)
    said = {word for _ in range(300) for word in sentence(rng, "verb", "sang", "all")[0]}
    assert HELD & said and not SIZES & said
    assert not HELD & {word for _ in range(300) for word in bag(rng, "verb", "sang", 5)[0]}


@pytest.mark.parametrize("words", [1, 3, 5])
def test_a_bag_has_so_many_words_of_as_many_attributes(words):
    rng = random.Random(0)
    places = Counter()
    for _ in range(200):
        said, at = bag(rng, "where", "lima", words)
        assert said[at] == "lima" and len({CLASS[word][0] for word in said}) == len(said) == words
        places[at] += 1
    assert set(places) == set(range(words))


def test_labels_follow_the_class_of_the_deciding_word_and_nothing_else():
    hits = []
    for one in episodes(200):
        tokens = one.document.tokens
        assert len(set(one.labels)) == 2 and set(one.labels) <= set(SYMBOLS)
        for shot in one.shots:
            name, label = CLASS[next(w for w in shot.sentence if CLASS.get(w, ("",))[0] == one.attribute)]
            assert (name, label) == (one.attribute, one.classes[shot.side])
            if shot.task == "report":
                assert tokens[shot.index] == one.labels[shot.side] and tokens[shot.index - 1] == "<score>"
            else:
                assert CLASS[tokens[shot.index]] == (name, label)
                before = len(tokens[: shot.index]) - 1 - tokens[: shot.index][::-1].index("<want>")
                assert tokens[before + 1] == one.labels[shot.side]
        hits += [one.labels[shot.side] == "3" for shot in one.shots]
    # which digits, and which of the two classes, is drawn anew
    assert 0.05 < sum(hits) / len(hits) < 0.15
    sides = [shot.side for one in episodes(200) for shot in one.shots]
    assert 0.45 < sum(sides) / len(sides) < 0.55


def test_loss_is_taken_where_something_can_be_known():
    for one in episodes(100):
        seen: set[int] = set()
        for number, shot in enumerate(one.shots):
            weight = one.document.weights[shot.index]
            if shot.task == "control":
                assert number >= 2 and weight == (DECISION if shot.side in seen else 0.05)
                at = one.document.tokens[: shot.index][::-1].index("<want>")
                assert one.document.weights[shot.index - at] == 0.0  # the label that is asked for is anybody's
            else:
                assert weight == (DECISION if number else 0.1)
            seen.add(shot.side)


def test_an_episode_ends_before_the_row_does():
    for one in episodes(100, shots=40, tokens=64):
        assert 40 < len(one.document.tokens) <= 64
    assert all(len(one.shots) == 4 for one in episodes(20, shots=4))


def test_no_digit_depends_on_what_is_held_out():
    index = train.tokenizer().get_vocab()
    names = {number: word for word, number in index.items()}
    digits = told = 0
    for batch in train.batches(index, seed=5, steps=25):
        for row, numbers in zip(batch.tokens.tolist(), batch.document, strict=True):
            for document in range(1, int(numbers.max()) + 1):
                words = [names[t] for t, own in zip(row, (numbers == document).tolist(), strict=True) if own]
                if set(words) & set(SYMBOLS):
                    assert not (HELD | SIZES) & set(words)
                    digits += 1
                else:
                    told += bool((HELD | SIZES) & set(words))
    assert digits > 200 and told > 50


def test_classes_named_as_labels_are_all_of_them():
    for one in episodes(40, told=1.0, control=0.0):
        assert one.labels == one.classes == ATTRIBUTES[one.attribute].classes
        assert all(one.document.tokens[shot.index] == one.classes[shot.side] for shot in one.shots)
    assert {one.attribute for one in episodes(100, told=1.0)} == set(ATTRIBUTES)
    assert {one.attribute for one in episodes(100)} == set(TRAINED)


def test_definitions_tell_the_class_of_words_held_out_too():
    rng = random.Random(0)
    told = set()
    for _ in range(200):
        document = definitions(rng)
        for decision in document.decisions:
            word, label = document.tokens[decision.index - 2], document.tokens[decision.index]
            assert CLASS[word][1] == label and decision.options == {label: 1.0}
            told.add(word)
    assert len(HELD - told) <= 2


def test_repeated_words_are_one_a_class():
    for one in episodes(40, repeat=1.0, words=1, control=0.0, symbols=4):
        assert len({shot.sentence for shot in one.shots}) <= 2 and set(one.labels) <= set("0123")


def test_prompts_are_what_an_episode_says():
    made = next(one for one in episodes(50, control=0.0, seed=1) if len(one.shots) > 4)
    shots = [(" ".join(shot.sentence), made.labels[shot.side]) for shot in made.shots]
    text = made.document.text
    assert text.startswith(f"<bos> {report_text(shots[:3], shots[3][0])} {shots[3][1]}")
    assert report_text([], "ana sang") == "<ex> ana sang <score>"
    assert control_text(shots[:2], "7") == report_text(shots[:1], shots[1][0]) + f" {shots[1][1]} <want> 7"


def test_batches_come_again_for_a_seed_and_fill_rows_of_their_stage():
    index = train.tokenizer().get_vocab()
    one, same = (list(train.batches(index, seed=3, steps=13)) for _ in range(2))
    other = next(train.batches(index, seed=4, steps=13))
    assert all(
        torch.equal(a.tokens, b.tokens) and torch.equal(a.weights, b.weights) for a, b in zip(one, same, strict=True)
    )
    assert not torch.equal(one[0].tokens, other.tokens)
    shapes = [tuple(batch.tokens.shape) for batch in one]
    assert shapes == sorted(shapes, reverse=True)
    assert set(shapes) == {(32, 64), (16, 128), (8, 256)}
    assert all(float((batch.document > 0).float().mean()) > 0.7 for batch in one)
    assert all(float(batch.weights.sum()) > 0 for batch in one)


def test_nothing_of_a_stage_is_left_over_for_the_next():
    index = train.tokenizer().get_vocab()
    marks = torch.tensor([index["<score>"], index["<want>"]])
    last = [batch for batch in train.batches(index, seed=2, steps=13) if batch.tokens.shape[1] == 256]
    found = []
    for row, numbers in zip(last[0].tokens, last[0].document, strict=True):
        found += [int(torch.isin(row[numbers == one], marks).sum()) for one in range(1, int(numbers.max()) + 1)]
    # definitions have none; the episodes of the last stage are the longest
    assert {count for count in found if count} and min(count for count in found if count) >= train.STAGES[-1].shots[0]


def test_the_last_stage_ends_the_run_and_control_comes_late():
    ends = [stage.until for stage in train.STAGES]
    assert ends == sorted(ends) and ends[-1] == 1.0
    control = [stage.control for stage in train.STAGES]
    assert control[0] == 0 and control[-1] == max(control)
    assert max(stage.length for stage in train.STAGES) <= trainer.tokenizer.CONTEXT


def _made(*shots: tuple[str, int]) -> Episode:
    made = tuple(Shot("report", 0, side, tuple(text.split())) for text, side in shots)
    return Episode("place", ("peru", "japan"), ("1", "2"), made, definitions(random.Random(0)))


def test_naive_bayes_learns_from_the_words_before():
    made = _made(("fox lima", 0), ("fox tokyo", 1), ("lima", 0), ("tokyo", 1), ("tokyo", 0), ("cusco", 0))
    # nothing seen; one of each seen, fox in both; then the word decides; a lie is wrong; a new word says nothing
    assert by_words(made) == [0.5, 0.0, 1.0, 1.0, 0.0, 0.5]
    assert by_words(_made(("fox", 0), ("crow", 1), ("fox", 0), ("crow", 1), ("crow", 0)))[2:] == [1.0, 1.0, 0.0]


def test_who_is_told_the_classes_carries_over_to_new_words():
    made = _made(("lima", 0), ("tokyo", 1), ("cusco", 0), ("osaka", 1))
    assert by_words(made)[2:] == [0.5, 0.5]
    # after one example another class must be the other label
    assert by_classes(made) == [0.5, 1.0, 1.0, 1.0]


def test_who_is_told_the_classes_leaves_out_attributes_that_cannot_be_meant():
    # kind goes with both labels in the second sentence, so that the place alone is left
    made = _made(("fox lima", 0), ("wolf tokyo", 1), ("crow cusco", 0), ("fox osaka", 1))
    assert by_classes(made)[2:] == [1.0, 1.0]
    # tense is in every sentence but says one thing for both labels; a sentence without a place rules places out
    assert by_classes(_made(("sang lima", 0), ("sang gladly", 1), ("sang lima gladly", 0)))[2] == 0.5
    # ten countries agree by chance more seldom than two tenses
    assert by_classes(_made(("sang lima", 0), ("sings tokyo", 1), ("sings lima", 0)))[2] == 1.0


def test_the_text_tells_all_there_is_to_know_late_in_an_episode():
    late = [hit for one in episodes(150, shots=14, control=0.0, tokens=256) for hit in by_classes(one)[8:]]
    words = [hit for one in episodes(150, shots=14, control=0.0, tokens=256) for hit in by_words(one)[8:]]
    assert sum(late) / len(late) > 0.98 and 0.55 < sum(words) / len(words) < 0.8
