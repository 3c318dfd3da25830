"""lens.Examples: the table of texts, labels and groups; what is wrong in it is said before anything runs."""

import json
import warnings

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lens
from lens import DataError, Examples


def table(**columns) -> Examples:
    return Examples(pd.DataFrame(columns))


def test_a_list_of_texts_needs_no_labels():
    examples = Examples.from_texts(["a", "b"])
    assert len(examples) == 2
    with pytest.raises(DataError, match="2 of 2 rows have no label"):
        _ = examples.labels


@pytest.mark.parametrize("labels", [[1, 0], [True, False], [1.0, 0.0]])
def test_zero_one_labels_of_any_type_are_taken(labels):
    assert Examples.from_texts(["a", "b"], labels).labels.tolist() == [1, 0]


@pytest.mark.parametrize("labels", [[1, 2], [-1, 1], ["0", "1"], ["yes", "no"], [0.5, 1]])
def test_other_labels_need_positive(labels):
    with pytest.raises(DataError, match=r"0 or 1.*positive=VALUE"):
        Examples.from_texts(["a", "b"], labels)


def test_positive_says_which_value_is_the_behaviour():
    assert Examples.from_texts(["a", "b", "c"], ["lie", "truth", "joke"], positive="lie").labels.tolist() == [1, 0, 0]
    assert Examples.from_texts(["a", "b"], [1, 2], positive=2).labels.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"'fib'; available: lie, truth"):
        Examples.from_texts(["a", "b"], ["lie", "truth"], positive="fib")


def test_numbers_of_texts_and_labels_must_agree():
    with pytest.raises(DataError, match="2 texts and 3 labels"):
        Examples.from_texts(["a", "b"], [0, 1, 0])


def test_columns_can_have_other_names():
    frame = pd.DataFrame({"question": ["a", "b"], "answer": ["x", None], "kind": ["lie", "not"], "topic": [5, 5]})
    made = Examples.from_frame(frame, text="question", response="answer", label="kind", positive="lie", group="topic")
    assert made.prompts == ["a", "b"] and made.responses == ["x", None]
    assert made.labels.tolist() == [1, 0] and made.groups.tolist() == [5, 5]
    with pytest.raises(DataError, match=r"'topics'; available: question, answer, kind, topic"):
        Examples.from_frame(frame, text="question", group="topics")


def test_the_users_frame_is_not_changed():
    frame = pd.DataFrame({"prompt": ["a", "b"], "label": [0, 1]})
    Examples(frame)
    assert list(frame.columns) == ["prompt", "label"]


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_empty_texts_are_refused_by_row(empty):
    with pytest.raises(DataError, match="Row 1: the prompt is empty"):
        table(prompt=["a", empty])
    with pytest.raises(DataError, match="Row 1: the response"):
        table(prompt=["a", "b"], response=["x", empty])


@pytest.mark.parametrize("wrong", [3, None, [], [{"role": "user"}], ["text"]])
def test_a_prompt_is_a_text_or_messages(wrong):
    with pytest.raises(DataError, match="Row 0"):
        table(prompt=[wrong])


def test_a_table_needs_rows_and_a_prompt_column():
    with pytest.raises(DataError, match="'prompt'; available: text"):
        table(text=["a"])
    with pytest.raises(DataError, match="empty"):
        table(prompt=[])


def test_files_are_read(tmp_path):
    csv, jsonl = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv.write_text("prompt,label\na,1\nb,0\n")
    jsonl.write_text('{"prompt": "a", "label": 1}\n\n{"prompt": "b", "label": 0}\n')
    assert Examples.from_file(csv).hash() == Examples.from_file(jsonl).hash()
    with pytest.raises(DataError, match=r"available: \.csv, \.jsonl"):
        Examples.from_file(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"No file.*b\.csv.*a\.csv, a\.jsonl"):
        Examples.from_csv(tmp_path / "b.csv")


def test_the_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match="line 2: not JSON"):
        Examples.from_jsonl(path)
    path.write_text('"just a text"\n')
    with pytest.raises(DataError, match="JSON object"):
        Examples.from_jsonl(path)


def test_any_unicode_text_survives_a_jsonl_file(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = ["one\u2028two", "three\x85four", "five\x0bsix", "seven\nEight"]
    path.write_text("\n".join(json.dumps({"prompt": t}, ensure_ascii=False) for t in texts), encoding="utf-8")
    assert Examples.from_jsonl(path).prompts == texts


def test_words_that_pandas_takes_for_missing_stay_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,response,label\nNone,NA,1\nnull,nan,0\nc,,1\n")
    read = Examples.from_csv(path, response="response")
    assert read.prompts == ["None", "null", "c"]
    assert read.responses == ["NA", "nan", None]


def test_pairs_share_a_group():
    pairs = Examples.from_pairs(["good", "kind"], ["bad", "mean"])
    assert pairs.prompts == ["good", "bad", "kind", "mean"]
    assert pairs.labels.tolist() == [1, 0, 1, 0]
    assert pairs.groups.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match="1 positive and 2 negative"):
        Examples.from_pairs(["a"], ["b", "c"])


@given(st.lists(st.integers(0, 9), min_size=4, max_size=40), st.floats(0.1, 0.9), st.integers(0, 5))
def test_a_split_never_shares_groups_and_loses_no_row(groups, test, seed):
    if len(set(groups)) < 2:
        groups = [*groups, 10]
    examples = table(prompt=[f"text {k}" for k in range(len(groups))], group=groups)
    train, held_out = examples.split(test=test, seed=seed)
    assert not set(train.groups) & set(held_out.groups)
    assert sorted(train.prompts + held_out.prompts) == sorted(examples.prompts)
    again, _ = examples.split(test=test, seed=seed)
    assert again.prompts == train.prompts


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 3.0])
def test_a_split_tests_a_share_of_the_groups(share):
    assert len(Examples.from_texts(list("abcdefghij")).split(test=0.3)[1]) == 3
    with pytest.raises(DataError, match="between 0 and 1"):
        Examples.from_texts(["a", "b"]).split(test=share)


def test_a_split_can_go_by_another_column():
    examples = table(prompt=list("abcdef"), topic=list("xxyyzz"))
    train, held_out = examples.split(by="topic", test=0.3)
    assert not set(train.frame["topic"]) & set(held_out.frame["topic"])
    with pytest.raises(DataError, match=r"'theme' to split by; available: prompt, topic, label, group"):
        examples.split(by="theme")
    with pytest.raises(DataError, match="one value"):
        table(prompt=["a", "b"], group=[1, 1]).split()


def test_rows_are_chosen_by_value():
    examples = table(prompt=list("abc"), topic=["x", "y", "z"])
    assert examples.where(topic=["x", "z"]).prompts == ["a", "c"]
    with pytest.raises(DataError, match=r"available: .*'x', 'y', 'z'"):
        examples.where(topic="w")
    with pytest.raises(DataError, match="selection is empty"):
        examples.select([])


def test_the_hash_follows_every_content():
    columns = {"prompt": ["a", "b"], "response": ["x", "y"], "label": [0, 1], "group": [0, 1]}
    base = table(**columns).hash()
    assert base == table(**columns).hash()
    changes = {"prompt": ["a", "c"], "response": ["x", "z"], "label": [1, 1], "group": [0, 0]}
    others = {table(**columns | {name: value}).hash() for name, value in changes.items()}
    assert len(others | {base}) == 5


def test_repeated_prompts_without_groups_are_warned_about():
    with pytest.warns(UserWarning, match="1 prompts repeat.*group=COLUMN"):
        Examples.from_texts(["a", "a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table(prompt=["a", "a"], group=[0, 0])
        Examples.from_texts(["a", "b"])


def test_a_missing_group_is_refused():
    with pytest.raises(DataError, match="'group' is missing in row 1"):
        table(prompt=["a", "b"], group=["x", None])


def test_errors_are_lens_errors():
    assert issubclass(DataError, lens.LensError)
